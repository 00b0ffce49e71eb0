"""Tells whether an error means that the operating system lacks a resource at the moment, which is no defect."""

import errno

EXHAUSTED = {
    errno.EMFILE: "this service has no free file descriptor",
    errno.ENFILE: "this machine has no free file descriptor",
    errno.ENOMEM: "this machine has too little free memory",
}
"""The error numbers that concern the process or the machine and not a file, and the meaning of each."""
NO_THREAD = "can't start new thread"
"""The text of CPython's RuntimeError if no thread can be started. The error has no class of its own."""


def exhausted_resource(exc: BaseException | None) -> str | None:
    """Return the name of the lacking resource if `exc`, or an error in its chain of causes, reports one; else None."""
    seen = set[int]()  # guards against an error that is its own cause: `raise exc from exc`
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if isinstance(exc, BaseExceptionGroup):
            causes = [exhausted_resource(each) for each in exc.exceptions]
            return causes[0] if all(causes) else None
        if isinstance(exc, OSError) and exc.errno in EXHAUSTED:
            return exc.strerror
        if isinstance(exc, MemoryError):
            return "memory"
        if isinstance(exc, RuntimeError) and str(exc) == NO_THREAD:
            return "a thread"
        exc = exc.__cause__
    return None
