"""Generated clients and the quick starts, run against a real service."""
