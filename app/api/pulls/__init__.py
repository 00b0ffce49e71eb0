"""`/pulls`: jobs that fetch models from a repository or a URL."""
