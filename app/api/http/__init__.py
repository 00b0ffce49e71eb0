"""HTTP for all resources: keys, limits, problems, conditional requests, negotiation."""
