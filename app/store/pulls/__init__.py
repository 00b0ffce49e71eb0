"""Pulls: models that come in from elsewhere, as jobs."""
