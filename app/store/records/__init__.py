"""The records in `.store/`: small files of JSON, which are input, since every program that may write the folder may
have written them.

`reader` opens and bounds them and remembers the damaged ones, `forms` says which types they have. `name_records` are
the records that are found by a model's name.
"""
