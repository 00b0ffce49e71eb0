"""`/pulls`: models that the service fetches, as jobs."""
