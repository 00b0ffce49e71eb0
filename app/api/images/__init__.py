"""Images in request bodies, for `/ocr` and `/ai/table`: received into files and given to the engine."""
