"""Jobs that are made of units: files, texts or pulls. Any service on the folder can work on a unit."""
