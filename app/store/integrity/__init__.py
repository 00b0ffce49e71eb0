"""Integrity: the SHA-256 on record for each model, and the verification of its bytes against that.

What is read of headers comes from `app.store.headers`; what to do about a corrupt model is decided elsewhere.
"""
