"""`/ai`: texts processed by a local language model, and tables recognised in images."""
