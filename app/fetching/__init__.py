"""Requests for files of other services: the HTTP client, and which URLs it may request."""
