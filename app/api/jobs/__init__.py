"""The routes that every kind of job has: list, get, cancel, stream events, get results."""
