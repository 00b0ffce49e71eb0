"""The records in `.store/`: small JSON files. They are untrusted input, because any program with access may write them.

`reader` opens records, bounds their size and remembers damaged records. `forms` checks the types of their fields.
`name_records` finds records by a model's name.
"""
