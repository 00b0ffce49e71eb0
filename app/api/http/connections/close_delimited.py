"""Answers to HTTP/1.0, which has no chunked encoding: closing the connection ends an answer of unknown length."""

import sys
from http import HTTPStatus

from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


def send_until_close(cycle: RequestResponseCycle) -> Send:
    """Return a `send` without chunks for a request of HTTP/1.0. uvicorn closes the connection after the answer."""
    send, is_open_ended = cycle.send, False

    async def send_without_chunks(message: Message) -> None:
        nonlocal is_open_ended
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            has_body = cycle.scope["method"] != "HEAD" and message["status"] not in WITHOUT_BODY
            if has_body and b"content-length" not in names:
                is_open_ended = True
                cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
        elif is_open_ended and message["type"] == "http.response.body" and not message.get("more_body", False):
            cycle.expected_content_length = len(message.get("body", b""))  # else uvicorn misses bytes
        await send(message)  # type: ignore[arg-type]  # uvicorn types each message

    return send_without_chunks
