"""Bodies of the drop-in addresses, which may be split between any two bytes while they arrive."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator

import anyio

from app.api.compatible.data_url import DataUrl
from app.api.compatible.docling_form import DoclingForm

IMAGE = bytes(range(256)) + b"??>>\xff"  # its base64 has every letter, and padding
BOUNDARY = "border"


def splits(body: bytes) -> Iterator[list[bytes]]:
    """Yield the body in two chunks, for each place between two bytes, and then byte by byte."""
    for place in range(1, len(body)):
        yield [body[:place], body[place:]]
    yield [body[place : place + 1] for place in range(len(body))]


def received(image: Callable[[AsyncIterator[bytes]], AsyncIterator[bytes]], chunks: list[bytes]) -> bytes:
    """Return the image that arrives in chunks."""

    async def arriving() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def receive() -> bytes:
        return b"".join([part async for part in image(arriving())])

    return anyio.run(receive)


def test_a_data_url_may_be_split_anywhere() -> None:
    """The decoded image and the rest of the body are the same for each split, also of an escaped slash."""
    encoded = base64.b64encode(IMAGE).decode()
    asked = {"document": {"document_url": f"data:image/png;base64,{encoded}"}, "pages": [0]}
    plain = json.dumps(asked)
    escaped = plain.replace("/", "\\/")
    assert "\\/" in escaped.partition("base64,")[2]
    for text in (plain, escaped):
        rest = text.replace(encoded, "").replace(encoded.replace("/", "\\/"), "")
        for chunks in splits(text.encode()):
            body = DataUrl()
            assert received(body.image, chunks) == IMAGE, chunks
            assert (bytes(body.rest).decode(), body.size_bytes) == (rest, len(IMAGE)), chunks


def test_a_form_of_docling_may_be_split_anywhere() -> None:
    """The file and the values of the fields are the same for each split, also if the file has most of a boundary."""
    image = IMAGE + f"\r\n--{BOUNDARY[:-1]}\r\n".encode()
    parts = [
        b'content-disposition: form-data; name="to_formats"\r\n\r\nmd',
        b'content-disposition: form-data; name="files"; filename="page.png"\r\ncontent-type: image/png\r\n\r\n' + image,
        b'content-disposition: form-data; name="page_range"\r\n\r\n1',
        b'content-disposition: form-data; name="page_range"\r\n\r\n2',
        b'content-disposition: form-data; name="do_ocr"\r\n\r\ntrue',
    ]
    border = f"--{BOUNDARY}".encode()
    text = b"".join(border + b"\r\n" + part + b"\r\n" for part in parts) + border + b"--\r\n"
    for chunks in splits(text):
        form = DoclingForm(f"multipart/form-data; boundary={BOUNDARY}", frozenset({"to_formats", "page_range"}))
        assert received(form.image, chunks) == image, chunks
        assert form.values == {"to_formats": ["md"], "page_range": ["1", "2"]}, chunks
        assert form.file_name == "page.png", chunks
