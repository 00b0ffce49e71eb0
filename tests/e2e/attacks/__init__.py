"""Hostile requests, images, paths and folders against the running service."""
