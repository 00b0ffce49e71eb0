"""`/uploads`: resumable uploads by the tus 1.0 protocol.

What tus says on the wire is here; staging and publishing of the bytes are in `app.store.incoming`.
"""
