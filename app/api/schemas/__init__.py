"""What requests and answers look like on the wire. The docstrings are the text of the docs page."""
