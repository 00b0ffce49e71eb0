"""Processes that change a model folder at random until they are killed, and files that show which version they are."""
