"""The options of routes that read an image: parameters of the query, or fields of the form."""
