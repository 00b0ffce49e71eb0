"""Which models are old or corrupt, what a prune would delete, and where the bytes are."""
