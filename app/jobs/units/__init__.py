"""Jobs that are made of units: files or texts that any service on the folder can work on."""
