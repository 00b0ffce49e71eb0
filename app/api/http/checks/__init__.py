"""Checks that every request passes before its parameters are parsed, and the sentences that explain a refusal."""
