"""Finds a caller's address in `X-Forwarded-For`, which is believed only if a trusted proxy has sent it."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

LONGEST_ADDRESS = 64
"""No address with a port has more characters. Longer texts are not kept in the cache."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """The addresses of the proxies of `OCR_TRUSTED_PROXIES`.

    Each proxy appends the address of its peer to `X-Forwarded-For`, so the last address is the only one that the
    nearest proxy itself has seen. The addresses before it were sent to that proxy, by another proxy or by a caller who
    invented them.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks` are addresses or networks such as `10.0.0.0/8`."""
        self._networks = [ipaddress.ip_network(each) for each in networks]

    def __bool__(self) -> bool:
        """Return whether any proxy is trusted."""
        return bool(self._networks)

    def caller_of(self, peer: str, forwarded: Sequence[bytes]) -> str:
        """Return the address of the caller: the last one that no trusted proxy has.

        `peer` is the other end of the connection, and `forwarded` has the values of the `X-Forwarded-For` headers in
        their order. A text that is no address ends the search, because what stands before it cannot be trusted.
        """
        nearest = address_of(peer)
        if nearest is None or not self._trusts(nearest):
            return peer
        for text in reversed(b",".join(forwarded).decode("latin-1").split(",")):
            address = address_of(text.strip()) if len(text) <= LONGEST_ADDRESS else None
            if address is None:
                break
            nearest = address
            if not self._trusts(address):
                break
        return str(nearest)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=1024)
def address_of(text: str) -> Address | None:
    """Return the address in a text such as `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1` or `[2001:db8::1]:443`.

    None if the text is no address.
    """
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
