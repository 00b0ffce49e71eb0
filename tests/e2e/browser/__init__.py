"""The docs page and the document in a real browser and in real tools."""
