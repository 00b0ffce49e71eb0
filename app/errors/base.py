"""The root of the exceptions."""


class ServiceError(Exception):
    """The root. Attributes are facts; `str()` is a sentence that says what to do."""
