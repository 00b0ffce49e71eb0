"""Clients of the service, and readers of its answers and pages."""
