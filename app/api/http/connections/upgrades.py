"""Ignores the header `Upgrade`, as RFC 9110 lets a server do. This service has no other protocol.

httptools takes whatever follows a head with `Upgrade` for another protocol, the body included. Java's HttpClient and
`curl --http2` send `Upgrade: h2c` with every first request, so their bodies would be lost.
"""

from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class UpgradeIgnoringParser:
    """The parser of one connection. After a head with `Upgrade` it parses the same head again, without that header.

    While `should_upgrade` is true, the connection must neither begin nor end a request.
    """

    def __init__(self, connection: "HttpToolsProtocol") -> None:
        self._connection = connection
        self._use(self._new_parser())

    def feed_data(self, data: bytes) -> None:
        """Parse bytes, and pass each part of a request in them to the connection. Raises httptools.HttpParserError."""
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                data = self._head_without_upgrade() + data[exc.args[0] :]
                self._use(self._new_parser())
            else:
                return

    def _use(self, parser: httptools.HttpRequestParser) -> None:
        self._parser = parser
        self.get_method = parser.get_method
        self.get_http_version = parser.get_http_version
        self.should_keep_alive = parser.should_keep_alive
        self.should_upgrade = parser.should_upgrade

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._connection)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        return parser

    def _head_without_upgrade(self) -> bytes:
        start = b"%s %s HTTP/%s" % (self.get_method(), self._connection.url, self.get_http_version().encode())
        headers = (b"%s: %s" % each for each in self._connection.headers if each[0] != b"upgrade")
        return b"\r\n".join((start, *headers, b"", b""))
