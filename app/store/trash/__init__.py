"""The trash: deleted models until they expire."""
