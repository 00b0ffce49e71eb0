"""Pulls: models that the service fetches from a repository or a URL, as jobs. Imports the store; knows no HTTP."""
