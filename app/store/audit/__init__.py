"""The audit: which models are old or corrupt, what a prune would delete, and where the bytes of the folder are.

The audit uses only what other parts of the store have found, and opens no model's file. `app.store.deletions` makes the
deletions of a prune.
"""
