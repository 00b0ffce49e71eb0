"""Connections: limits for their number and for a caller's time, and refusals of requests that reach no route."""
