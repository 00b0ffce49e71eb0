"""The HTTP API. Each folder serves one group of URLs; `http/` has what all of them share."""
