"""Locks and leases on models, shared by all processes on the folder."""
