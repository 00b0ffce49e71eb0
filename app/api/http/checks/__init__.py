"""The checks of every request before its parameters are parsed, and the sentences that explain a refusal."""
