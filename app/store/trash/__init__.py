"""The trash: deleted models, until they are restored or purged.

`trash` lists, restores and purges entries; it makes the checks and writes the journal. `folder` moves the files from
one state to the next, `purging` deletes entries permanently, and `recovery` completes or undoes what killed processes
left unfinished. `records` reads and writes the record beside each file. `app.store.deletions` moves deleted models into
the trash.
"""
