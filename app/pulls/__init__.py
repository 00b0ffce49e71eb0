"""Pulls: jobs that fetch models from a repository or a URL.

This package imports the store and the jobs, not the API.
"""
