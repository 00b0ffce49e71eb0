"""Pulls: jobs that fetch models from a repository or a URL. This package imports the store, and nothing of our API."""
