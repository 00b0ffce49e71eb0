"""Whether a model's bytes are still those that were recorded."""
