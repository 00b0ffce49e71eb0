"""Connections: their number, the time that a caller may take, and requests that are refused before any route."""
