"""Reads the parts of an answer that tests compare."""

import httpx


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of a problem answer and the last part of its type."""
    return answer.status_code, str(answer.json()["type"]).rpartition(":")[2]
