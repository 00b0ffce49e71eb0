"""A corpus of small files that show one page, each in another format, orientation, depth, compression or box."""
