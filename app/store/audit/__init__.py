"""The audit: which models are old or corrupt, what a prune would delete, and where the bytes of the folder are.

It judges what other parts found. No file of a model is opened here; deletions are made by `app.store.deletions`.
"""
