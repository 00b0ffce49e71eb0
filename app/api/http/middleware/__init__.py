"""The middleware of every request: `RequestLog` outside, `RequestLimits` inside it, then the router."""

PROBES = {"/livez", "/readyz"}
"""The paths of probes. They are called every few seconds and not logged."""
