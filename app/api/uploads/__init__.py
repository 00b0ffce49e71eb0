"""`/uploads`: resumable uploads by the tus 1.0 protocol.

The headers and answers of tus are here; staging and publishing of the bytes are in `app.store.incoming`.
"""
