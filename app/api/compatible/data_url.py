"""The image in a JSON body: a data URL with base64, which is decoded while it arrives."""

import binascii
from collections.abc import AsyncIterator

from app.api.compatible.reading import refused

MARK = b";base64,"
MAX_REST_BYTES = 1 << 16
"""How many bytes a body may have besides the base64."""
TOO_LONG = f"the body has more than {MAX_REST_BYTES} bytes besides the base64 of its document"
NO_BASE64 = (
    "must have the document itself, as a data: URL with base64, such as data:application/pdf;base64,JVBERi0...; "
    "documents at other URLs and uploaded files are not fetched"
)


class DataUrl:
    """A JSON body that is split, while it arrives, into the decoded document and the rest."""

    def __init__(self) -> None:
        self.rest = bytearray()
        """The body without the base64. It is complete once `image` has ended."""
        self.size_bytes = 0
        """The size of the decoded document, in bytes."""
        self._pending = b""
        self._is_padded = False

    async def image(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes of the document, and b"" at the end. Raises RequestValidationError."""
        is_found = is_over = False
        async for chunk in chunks:
            data = chunk
            if not is_found:
                begin = max(0, len(self.rest) - len(MARK))
                self._keep(data[: MAX_REST_BYTES + 1])
                found = self.rest.find(MARK, begin)
                if found < 0:
                    self._check()
                    continue
                is_found = True
                after = found + len(MARK)
                data = bytes(self.rest[after:]) + data[MAX_REST_BYTES + 1 :]
                del self.rest[after:]
            if not is_over:
                encoded, quote, data = data.partition(b'"')
                if decoded := self._decode(encoded):
                    self.size_bytes += len(decoded)
                    yield decoded
                if not quote:
                    continue
                is_over = True
                self._end()
                data = quote + data
            self._keep(data)
            self._check()
        if not is_over:
            raise refused("document", NO_BASE64)
        yield b""

    def _keep(self, data: bytes) -> None:
        self.rest += data

    def _check(self) -> None:
        if len(self.rest) > MAX_REST_BYTES:
            raise refused("document", f"{NO_BASE64}; {TOO_LONG}")

    def _decode(self, encoded: bytes) -> bytes:
        text = (self._pending + encoded).replace(b"\\/", b"/")  # JSON may escape a slash
        whole = len(text) - text.endswith(b"\\")
        whole -= whole % 4
        text, self._pending = text[:whole], text[whole:]
        if text and self._is_padded:
            raise refused("document", "the base64 goes on after its padding")
        self._is_padded = self._is_padded or text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as exc:
            raise refused("document", f"the base64 of the document is invalid: {exc}") from exc

    def _end(self) -> None:
        if self._pending:
            raise refused("document", "the base64 of the document is cut off: its length is no multiple of 4")
