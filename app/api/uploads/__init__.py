"""`/uploads`: resumable uploads by the tus 1.0 protocol.

This package has the headers and answers of tus; `app.store.incoming` stages and publishes the bytes.
"""
