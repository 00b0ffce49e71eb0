"""The base class of all errors."""


class ServiceError(Exception):
    """The base class of all errors. `str()` is a sentence for users that says what to do; attributes hold the facts."""
