"""`/models`: list, read, upload, delete, protect and verify model files."""
