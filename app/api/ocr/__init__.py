"""`/ocr`: text recognition in images."""
