"""`/uploads`: resumable uploads by the tus 1.0 protocol."""
