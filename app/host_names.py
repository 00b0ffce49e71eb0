"""Converts host names and addresses to one spelling: lower case, no final dot, IPv6 addresses in brackets."""

import ipaddress
import re
from functools import lru_cache

NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*", re.ASCII)
HOST = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[0-9]{0,5}))?", re.ASCII)
LONGEST_NAME = 253
LONGEST_FIELD = LONGEST_NAME + len(".:65535")
"""No valid `Host` has more characters. Longer ones are not kept in the caches: a request may have one of 64 KiB."""
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
"""Matches the scheme of an origin; pages of browser extensions and desktop applications have their own schemes."""
DEFAULT_PORTS = {"http": "80", "https": "443"}


def host_of(field: str) -> str | None:
    """Return the host in a `Host` header, without the port. None if the header is not valid."""
    return _host_of(field) if len(field) <= LONGEST_FIELD else None


@lru_cache(maxsize=1024)
def _host_of(field: str) -> str | None:
    match = HOST.fullmatch(field)
    return canonical_host(match["name"]) if match else None


def authority_of(field: str, scheme: str) -> str | None:
    """Return the host and port in a `Host` header, or in an origin after its `://`. None if `field` is not valid."""
    return _authority_of(field, DEFAULT_PORTS.get(scheme, "")) if len(field) <= LONGEST_FIELD else None


@lru_cache(maxsize=1024)
def _authority_of(field: str, default_port: str) -> str | None:
    match = HOST.fullmatch(field)
    if match is None or (name := canonical_host(match["name"])) is None:
        return None
    return f"{name}:{match['port'] or default_port}"


def canonical_origin(text: str) -> str | None:
    """Return the origin of a web page as browsers send it: `scheme://host`, with a port if it is not the scheme's own.

    None if the text is no origin, such as a URL with a path.
    """
    scheme, separator, authority = text.lower().partition("://")
    match = HOST.fullmatch(authority)
    if not (separator and SCHEME.fullmatch(scheme) and match) or (name := canonical_host(match["name"])) is None:
        return None
    own_port = DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{name}" + (f":{match['port']}" if match["port"] and match["port"] != own_port else "")


def canonical_host(name: str) -> str | None:
    """Return a host name or address in its canonical spelling.

    None if the text is neither, such as a name with a port.
    """
    text = name.lower().removesuffix(".")
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return f"[{ipaddress.IPv6Address(bare)}]" if "%" not in bare else None
        except ValueError:
            return None
    return text if len(text) <= LONGEST_NAME and NAME.fullmatch(text) else None
