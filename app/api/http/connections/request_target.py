"""Checks the target in a request line: whether its path and its host have only one possible meaning."""

from collections.abc import Iterable

import httptools

from app.host_names import authority_of


def target_problem(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return why a request target is refused; None if it is not.

    A target such as `http://host/models` names a host, which RFC 9112 (section 3.2.2) puts above `Host`. The checks of
    hosts and origins use `Host`, and a proxy may use either, so both must name the same host.
    """
    if b"#" in target:  # uvicorn would drop the rest, so that another model than the one named would be deleted
        return "The path has a '#', which must be sent as %23."
    if target.startswith(b"/") or target == b"*":
        return None
    hosts = [value for name, value in headers if name == b"host"]
    try:
        url = httptools.parse_url(target)
        named = target.split(b"://", 1)[1].split(b"/", 1)[0].split(b"?", 1)[0].decode("ascii")
        host = hosts[0].decode("ascii")
    except (httptools.HttpParserError, IndexError, UnicodeDecodeError):
        return "The request target is neither a path nor a URL with a Host of the same name."
    if url.path is None:
        return "The request target has no path."
    scheme = (url.schema or b"").decode("ascii").lower()
    authority = authority_of(named, scheme)
    if authority is None or authority != authority_of(host, scheme):
        return "The request target names another host than Host."
    return None
