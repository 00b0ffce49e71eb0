"""What the command line does without a server, on the same locks."""
