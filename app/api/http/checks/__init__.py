"""What is checked of every request before its parameters are parsed, and the sentences of refusals."""
