"""The media types that more than one resource reads or answers."""

JSON = "application/json"
TEXT = "text/plain"
FORM = "multipart/form-data"
"""A form that may have files."""
FORMS = (FORM, "application/x-www-form-urlencoded")
