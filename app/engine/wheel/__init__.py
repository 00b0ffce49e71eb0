"""Finds which functions the installed version of the vendor's package has, and which OCR models they need."""
