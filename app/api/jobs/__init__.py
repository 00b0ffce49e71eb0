"""What every kind of job has in common on the wire: list, read, cancel, follow, results."""
