"""Incoming models: bytes are staged in `.store/staging/`, checked, and published under the model's name in one step.

Words: a *staged file* is open and locked by its writer. A *partial* is any file in staging; it is *active* while it has
a writer, and *kept* if a record lets an upload or a pull resume it. Nothing about the network or jobs belongs here.
"""
