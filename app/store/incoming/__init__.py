"""Incoming models: bytes are staged in `.store/staging/`, checked, and published under the model's name in one step.

Words: a *staged file* is open and locked by its writer. A *partial* is what lies in staging, active or not; one with a
record is *kept*, so that an upload or a pull can resume it. Nothing about the network or jobs belongs here.
"""
