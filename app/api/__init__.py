"""The HTTP API. Each folder serves one group of URLs, except `http/`, which has the code that all groups share."""
