"""Incoming models: bytes are staged in `.store/staging/`, checked, and published under the model's name in one step.

Words: a *staged file* is a file that its writer has open and locked. A *partial* is any file in staging: *active* while
it has a writer, and *kept* if a record lets an upload or a pull resume it. Nothing about the network or jobs belongs
here.
"""
