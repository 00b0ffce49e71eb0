"""Checks a PDF before PDFium renders it: its pages, and all that the pages draw at any depth.

pypdf itself bounds the page tree, the filters and the size of decoded streams, and refuses loops among pages. To find
the pictures and contents below a page, this module follows every reference, also those in forms, patterns, fonts, masks
and annotations.
"""

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from PIL import Image
from pypdf import PageObject, PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError
from pypdf.generic import ArrayObject, DictionaryObject, IndirectObject, StreamObject

from app.engine.child.images.image_sizes import check_size, select_pages
from app.engine.child.images.pdf_patterns import check_tiles
from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageError, ImageTooLarge, UnreadableImage

MAX_USER_UNIT = 75_000
"""The largest unit of a page, in points, that PDF 1.7 readers take."""
MAX_OBJECTS = 200_000
"""How many objects of a PDF the pages of one recognition may need."""
MAX_CONTENT_BYTES = 500_000_000
"""How many decoded bytes all contents, fonts and other streams of one call may have. pypdf bounds one stream to 75
MB."""
BYTES_PER_PIXEL = 8
"""How many bytes one decoded pixel may take: four components of 16 bits."""
FAX_COLUMNS = 1728
"""The width of a picture in CCITT code that states none."""
CHUNK_BYTES = 1 << 20
FLATE = ("/FlateDecode", "/Fl")
MAX_DRAWINGS = 100_000
"""How many forms one page may draw. A form that is drawn several times counts each time."""
MAX_STATED_PAGES = 100_000
"""How many pages a node of the page tree may state; pypdf takes no tree with more nodes. The vendor's library trusts
the stated number: a negative number makes it overflow, and for two thousand million it reserves the memory."""
MAX_DEPTH = 101
"""How deep the page tree may be; pypdf refuses a deeper one."""
MAX_NESTED = 20
"""How deep functions and colour spaces may be nested in each other. The vendor's library follows a loop of them until
it dies."""
COLOUR_SPACES = {"/Indexed", "/I", "/Separation", "/DeviceN", "/Pattern", "/ICCBased"}
NESTED_IN = ("/Functions", "/Function", "/Alternate")
DRAWN = re.compile(rb"/([^\0\t\n\f\r ()<>\[\]{}/%]+)(?:\s|%[^\r\n]*[\r\n])+Do\b")
INLINE_PICTURE = re.compile(rb"\bBI\b(.{1,1000}?)\bID\b", re.DOTALL)
INLINE_SIDE = re.compile(rb"/(?:W|H|Width|Height)\s+(\d{1,20})\b")


@dataclass(frozen=True, slots=True)
class PdfFacts:
    """The facts about a PDF that the check of its requested pages found."""

    numbers: list[int]
    """The numbers of the requested pages, counted from 1."""
    total: int
    """How many pages the document has."""
    user_units: dict[int, float]
    """The size of a unit of each requested page in points, by the page's number."""
    attached: list[str]
    """The names of files that annotations of the requested pages carry."""


def is_encrypted(path: Path) -> bool:
    """Return whether a PDF is encrypted in any way. Raises any exception of pypdf for a broken file."""
    try:
        with PdfReader(path) as reader:
            return reader.is_encrypted
    except (DependencyError, FileNotDecryptedError):  # pypdf decrypts AES only with another package
        return True


def examine_pdf(path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits) -> PdfFacts:
    """Check the requested pages of a PDF that is not encrypted.

    Raises ImageError, and any exception of pypdf for a broken file.
    """
    try:
        with PdfReader(path) as reader:
            numbers = select_pages(pages, total := len(reader.pages), limits)
            requested = [reader.pages[number - 1] for number in numbers]
            needed, units, attached = _Needed(limits, max(map(_area, requested), default=0)), {}, []
            for number, page in zip(numbers, requested, strict=True):
                needed.check_page(page)
                units[number] = min(max(float(page.get("/UserUnit", 1)), 1), MAX_USER_UNIT)
                attached += _attached_files(page)
            needed.check_values(_dictionary(_dictionary(reader.root_object.get("/AcroForm")).get("/DR")))
    except LimitReachedError as exc:
        raise ImageTooLarge(f"a structure beyond what is safe to read ({exc})", "that of pypdf") from exc
    return PdfFacts(numbers, total, units, attached)


def _area(page: PageObject) -> float:
    return abs(float(page.mediabox.width) * float(page.mediabox.height))


def _attached_files(page: PageObject) -> list[str]:
    annotations = [_dictionary(each) for each in _listed(page.get("/Annots"))]
    found = [each for each in annotations if each.get("/Subtype") == "/FileAttachment"]
    return [str(_dictionary(each.get("/FS")).get("/F", "a file")) for each in found]


class _Needed:
    """The objects of a PDF that the requested pages need. Each object is checked only once."""

    def __init__(self, limits: ImageLimits, page_area: float) -> None:
        """`page_area` is the area of the largest page, in square units of its user space."""
        self._limits = limits
        self._page_area = page_area
        self._seen: set[tuple[int, int]] = set()
        self._objects = 0
        self._content_bytes = 0
        self._drawings: dict[int, int | None] = {}
        """How many forms each form draws, nested ones included, by the number of the form's object; None while this is
        being counted."""
        self._nested: set[tuple[int, int]] = set()
        """The objects of functions and colour spaces that were found not to contain themselves."""

    def check_page(self, page: PageObject) -> None:
        """Check everything that a page refers to, but not other pages."""
        _check_stated_pages(page)
        self.check_values(page)
        contents = page.get_contents()
        self._count_drawings(contents.get_data() if contents is not None else b"", page.get("/Resources"))

    def check_values(self, dictionary: DictionaryObject) -> None:
        """Check everything that a dictionary refers to, but not pages."""
        rest: list[Any] = list(_values(dictionary))
        while rest:
            value = rest.pop()
            if isinstance(value, IndirectObject):
                key = (value.idnum, value.generation)
                if key in self._seen:
                    continue
                self._seen.add(key)
                value = value.get_object()
            if not isinstance(value, DictionaryObject | ArrayObject) or _is_page(value):
                continue
            self._objects += 1
            if self._objects > MAX_OBJECTS:
                raise ImageTooLarge(f"pages with more than {MAX_OBJECTS} objects", f"{MAX_OBJECTS} objects in one call")
            if isinstance(value, StreamObject):
                check_tiles(value, self._page_area)
                self._check_stream(value)
            if _is_function_or_colour_space(value):
                self._check_nesting(value, 0)
            rest += value if isinstance(value, ArrayObject) else _values(value)

    def _check_nesting(self, value: Any, depth: int) -> None:  # noqa: ANN401 - any object of pypdf
        """Raise UnreadableImage if a function or colour space contains itself, or too many are nested in each other."""
        key = (value.idnum, value.generation) if isinstance(value, IndirectObject) else None
        if key in self._nested:
            return
        if depth > MAX_NESTED:
            raise UnreadableImage("a function or a colour space in the PDF contains itself, or too many others")
        value = value.get_object() if isinstance(value, IndirectObject) else value
        if isinstance(value, ArrayObject):
            inner = list(value)
        else:
            inner = [value.raw_get(name) for name in NESTED_IN if name in value] if _is_dictionary(value) else []
        for each in inner:
            self._check_nesting(each, depth + 1)
        if key:
            self._nested.add(key)

    def _count_drawings(self, content: bytes, resources: Any) -> int:  # noqa: ANN401 - any object of pypdf
        """Return how many forms a content draws, nested forms included.

        Ten nested forms can draw a thousand million forms.
        """
        forms = _dictionary(_dictionary(resources).get("/XObject"))
        total = 0
        for name in DRAWN.findall(content):
            form = forms.get("/" + unquote(name.decode("latin-1").replace("%", "%25").replace("#", "%"), "latin-1"))
            form = form.get_object() if form is not None else None
            if not isinstance(form, StreamObject) or form.get("/Subtype") != "/Form":
                continue
            number = form.indirect_reference.idnum if form.indirect_reference else id(form)
            if number not in self._drawings:
                self._drawings[number] = None
                self._drawings[number] = self._count_drawings(_content(form), form.get("/Resources", resources))
            if (drawings := self._drawings[number]) is None:
                raise UnreadableImage("a form in the PDF draws itself")
            total += 1 + drawings
            if total > MAX_DRAWINGS:
                raise ImageTooLarge(f"a page that draws more than {MAX_DRAWINGS} forms", "that many")
        return total

    def _check_stream(self, stream: StreamObject) -> None:
        if stream.get("/Subtype") == "/Image":
            self._check_picture(stream)
            return
        content = _content(stream)
        self._content_bytes += len(content)
        if self._content_bytes > MAX_CONTENT_BYTES:
            raise ImageTooLarge(f"pages with more than {MAX_CONTENT_BYTES} bytes of content", "that many in one call")
        for picture in INLINE_PICTURE.finditer(content):
            sides = [int(side) for side in INLINE_SIDE.findall(picture[1])][:2]
            if len(sides) == 2:  # noqa: PLR2004 - width and height
                check_size(sides[0], sides[1], self._limits, "a picture")

    def _check_picture(self, picture: StreamObject) -> None:
        """Check the size that a picture's dictionary and the head of its data state, and its size when inflated."""
        width, height = _sides(picture, "/Width", "/Height")
        check_size(width, height, self._limits, "a picture")
        for parameters in _listed(picture.get("/DecodeParms")):
            if isinstance(parameters, DictionaryObject) and "/Rows" in parameters:
                columns, rows = _sides(parameters, "/Columns", "/Rows")
                check_size(columns or FAX_COLUMNS, max(rows, 1), self._limits, "a picture")
        data, filters = bytes(picture._data), [str(each) for each in _listed(picture.get("/Filter"))]  # noqa: SLF001
        most = self._limits.max_pixels * BYTES_PER_PIXEL
        while filters and filters[0] in FLATE:
            filters.pop(0)
            data = _inflated(data, most, keep=bool(filters))
        if filters and filters[0] in {"/DCTDecode", "/DCT", "/JPXDecode"}:
            try:
                with Image.open(io.BytesIO(data), formats=("JPEG", "JPEG2000")) as inner:
                    size = inner.size
            except Exception as exc:  # the data is hostile, and what Pillow raises for it is not defined
                raise UnreadableImage(f"a picture in the PDF is broken ({type(exc).__name__})") from exc
            check_size(*size, self._limits, "a picture")


def _content(stream: StreamObject) -> bytes:
    """Return the decoded data of a stream; empty if the stream is broken, because a page may be readable without it."""
    try:
        return stream.get_data()
    except (LimitReachedError, MemoryError, ImageError):  # ImageError: the CPU time is used up
        raise
    except Exception:  # noqa: BLE001 - what pypdf raises for hostile bytes is not defined
        return b""


def _dictionary(value: Any) -> DictionaryObject:  # noqa: ANN401 - any object of pypdf
    value = value.get_object() if isinstance(value, IndirectObject) else value
    return value if isinstance(value, DictionaryObject) else DictionaryObject()


def _inflated(data: bytes, most: int, *, keep: bool) -> bytes:
    """Inflate data. With `keep` return it, else return nothing. Raises ImageTooLarge beyond `most` bytes."""
    inflater, size, kept = zlib.decompressobj(), 0, bytearray()
    try:
        while data and not inflater.eof:
            chunk = inflater.decompress(data, CHUNK_BYTES)
            data, size = inflater.unconsumed_tail, size + len(chunk)
            if size > most:
                raise ImageTooLarge(f"a picture whose data has more than {most} bytes", "8 bytes a pixel")
            if keep:
                kept += chunk
    except zlib.error:  # cut off or damaged: the vendor's library cannot read further either
        pass
    return bytes(kept)


def _sides(dictionary: DictionaryObject, *names: str) -> list[int]:
    """Return the numbers that the dictionary has under these names; 0 for a missing name."""
    return [int(value) if isinstance(value := dictionary.get(name, 0), int | float) else 0 for name in names]


def _is_page(value: Any) -> bool:  # noqa: ANN401 - any object of pypdf
    return isinstance(value, DictionaryObject) and value.get("/Type") in {"/Page", "/Pages"}


def _values(dictionary: DictionaryObject) -> Iterator[Any]:
    """Yield a dictionary's values without resolving references, except `/Parent`, which leads to the whole document."""
    for key in dictionary:
        if key != "/Parent":
            yield dictionary.raw_get(key)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - any object of pypdf
    value = value.get_object() if isinstance(value, IndirectObject) else value
    if isinstance(value, ArrayObject):
        return [each.get_object() for each in value]
    return [] if value is None else [value]


def _is_dictionary(value: Any) -> bool:  # noqa: ANN401 - any object of pypdf
    return isinstance(value, DictionaryObject)


def _is_function_or_colour_space(value: ArrayObject | DictionaryObject) -> bool:
    if isinstance(value, ArrayObject):
        return bool(value) and isinstance(value[0], str) and value[0] in COLOUR_SPACES
    return "/FunctionType" in value


def _check_stated_pages(page: PageObject) -> None:
    """Raise UnreadableImage if a node above the page states a number of pages that no document has."""
    node: Any = page
    for _ in range(MAX_DEPTH):
        node = _dictionary(node.get("/Parent"))
        stated = node.get("/Count", 0)
        if isinstance(stated, int | float) and not 0 <= stated <= MAX_STATED_PAGES:
            raise UnreadableImage(f"its page tree states {stated} pages")
