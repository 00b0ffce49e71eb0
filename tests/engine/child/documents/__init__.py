"""Documents written from recognised pages, each read by a library of others."""
