"""HTTP itself: keys, limits, problems, conditional requests, content negotiation, the OpenAPI document. No resource."""
