"""Which errors mean that the operating system lacks a resource."""

import errno

from app.errors.exhaustion import exhausted_resource


def test_an_error_that_is_its_own_cause_ends_the_search() -> None:
    """Python allows `raise exc from exc`; the search for a cause, which runs on the event loop, ends all the same."""
    one, other = OSError(errno.ESTALE, "stale"), OSError(errno.EIO, "broken")
    one.__cause__, other.__cause__ = other, one

    assert exhausted_resource(one) is None
    other.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert exhausted_resource(one) == "Too many open files"
