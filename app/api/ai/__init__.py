"""`/ai`: texts processed by a local language model."""
