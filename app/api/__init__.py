"""The wire: HTTP in, HTTP out. Routes, schemas, problems, and who may call."""
