"""What an answer says, in the words that tests compare."""

import httpx


def problem_of(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the end of the problem's type."""
    return answer.status_code, str(answer.json()["type"]).rpartition(":")[2]
