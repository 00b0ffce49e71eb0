"""`/resources`: the vendor's OCR models that a site offers, and those that are in the model folder."""
