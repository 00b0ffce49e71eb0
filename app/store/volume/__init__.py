"""The model folder as a place on a disk: safe paths into it, what its file system can do, who else uses it."""
