"""The trash: deleted models, until they are restored or purged.

`trash` has the verbs, with their checks and the journal; `folder` has the states of the files and each step between
them; `records` has the record beside each file. Deleting a model is in `app.store.deletions`.
"""
