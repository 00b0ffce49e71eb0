"""Locks and leases on models, shared by all processes and machines on the folder.

A lock is exclusive and held for one change; a lease is shared and held while a model is used. What they protect is
known elsewhere: a lock has a name, and here that is just text.
"""
