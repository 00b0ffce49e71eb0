"""Integrity: the recorded SHA-256 of each model, and the verification that the model's bytes have this SHA-256.

Headers are read by `app.store.headers`. What happens to a corrupt model is decided by callers.
"""
