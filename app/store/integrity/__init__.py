"""Integrity: the recorded SHA-256 of each model, and the verification of the model's bytes against it.

`app.store.headers` reads headers. Callers decide what to do about a corrupt model.
"""
