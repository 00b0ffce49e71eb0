"""Bodies that never change while the service runs, each kept as it is and compressed with gzip."""

import gzip
import hashlib

from fastapi import Request
from starlette.responses import Response

from app.api.http.conditional import matches

CODINGS = ("gzip", "*")


class CompressedBody:
    """A body with its answers: 200, as it is or compressed, and 304. All are built once and sent many times."""

    def __init__(self, body: bytes, media_type: str, headers: dict[str, str]) -> None:
        """Compress the body, which takes 50 ms for a megabyte."""
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        shared = {"vary": "accept-encoding"} | headers
        # Strong etags: the two forms are different bytes, so their etags differ (RFC 9110, section 8.8.3).
        self._etags = (f'"{digest}"', f'"{digest}-gzip"')
        encoded = shared | {"etag": self._etags[1], "content-encoding": "gzip"}
        self._plain = Response(body, media_type=media_type, headers=shared | {"etag": self._etags[0]})
        self._compressed = Response(gzip.compress(body, mtime=0), media_type=media_type, headers=encoded)
        self._unchanged = [Response(status_code=304, headers=shared | {"etag": etag}) for etag in self._etags]

    def answer(self, request: Request) -> Response:
        """Return the body in a form that `Accept-Encoding` allows, or 304 if `If-None-Match` has that form's etag."""
        takes_gzip = _takes_gzip(",".join(request.headers.getlist("accept-encoding")))
        known = ",".join(request.headers.getlist("if-none-match"))
        if known and matches(known, self._etags[takes_gzip]):
            return self._unchanged[takes_gzip]
        return self._compressed if takes_gzip else self._plain


def _takes_gzip(accept_encoding: str) -> bool:
    """True if a value of `Accept-Encoding` allows gzip (RFC 9110, section 12.5.3). Without the header: False."""
    qualities: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        name, _, value = parameter.partition("=")
        try:
            qualities[coding.strip()] = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            qualities[coding.strip()] = 0.0
    return next((qualities[coding] > 0 for coding in CODINGS if coding in qualities), False)
