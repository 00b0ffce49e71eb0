"""The wire: HTTP in, HTTP out. A folder is the first segment of a URL; `http/` is about HTTP and no resource."""
