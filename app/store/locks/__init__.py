"""Locks and leases on models, shared by all processes and machines on the folder.

A lock is exclusive and held for one change; a lease is shared and held while a model is used. This package does not
know what a lock protects: the name of a lock is plain text here.
"""
