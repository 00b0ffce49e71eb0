"""The answer to a request that never reaches the application, as bytes."""

import secrets
from http import HTTPStatus

from app.api.http.problem_table import PROBLEM_TYPES
from app.api.http.problems import PROBLEM_MEDIA_TYPE

STATUS_LINE = "HTTP/1.1 {status} {phrase}"


def refusal(exc: Exception, path: str, default_headers: list[tuple[bytes, bytes]]) -> tuple[str, bytes]:
    """Return the new id of a refused request, and the answer with its problem."""
    request_id = secrets.token_hex(16)
    kind = PROBLEM_TYPES[type(exc)]
    body = kind.describe(exc, path, request_id).model_dump_json().encode()
    headers = {
        **{name.decode(): value.decode() for name, value in default_headers},
        **kind.headers_for(exc),
        "content-type": PROBLEM_MEDIA_TYPE,
        "content-length": str(len(body)),
        "x-request-id": request_id,
    }
    lines = [STATUS_LINE.format(status=kind.status, phrase=HTTPStatus(kind.status).phrase)]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return request_id, "\r\n".join([*lines, "", ""]).encode() + body
