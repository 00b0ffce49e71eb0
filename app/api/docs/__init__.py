"""What tells people and programs about the API: the OpenAPI document, the pages that show it, `/` and `/version`."""
