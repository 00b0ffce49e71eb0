"""The trash: deleted models, until they are restored or purged.

`trash` lists, restores and purges entries, with checks and the journal. `folder` moves the files from one state to the
next, `purging` deletes entries permanently, and `recovery` completes or undoes what killed processes left. `records`
reads and writes the record beside each file. `app.store.deletions` deletes models into the trash.
"""
