"""A font without visible shapes for the invisible text of searchable PDFs, in any script.

The reader of a PDF finds, marks and copies text by its letters' codes and widths, so invisible text needs no shapes. A
font with shapes would leave out the letters that it lacks. Tesseract and OCRmyPDF also use fonts without shapes.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate

from pikepdf import Array, Dictionary, Name, Pdf, Stream

from app.engine.child.documents.words import SPACE, width_of

NAME = "/OcrTextLayer"
"""The name of the font in the resources of a page."""
UNITS = 1000
"""The height of a letter, in the units in which the font states widths."""
LETTER = 500
"""The width of a letter of usual width, in UNITS. The text layer stretches each word to the width that it has on the
page."""
MAX_CODES = 65_000
"""How many letters the font can have. A code has two bytes."""
UNKNOWN = "\ufffd"
"""The character that replaces every letter beyond the first MAX_CODES."""


class GlyphlessFont:
    """The letters that a document has used so far. Each gets a code of two bytes."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {" ": 1, UNKNOWN: 2}

    def codes_of(self, clusters: Sequence[str]) -> bytes:
        """Return the font's codes for letters. Each cluster is one letter with the marks that are printed on it."""
        return b"".join(self._code(cluster).to_bytes(2) for cluster in clusters)

    def _code(self, cluster: str) -> int:
        if cluster not in self._codes and len(self._codes) >= MAX_CODES:
            cluster = UNKNOWN
        return self._codes.setdefault(cluster, len(self._codes) + 1)

    def added_to(self, pdf: Pdf) -> Dictionary:
        """Add the font to a PDF, and return it. Call this after `codes_of` was called for the text of all pages."""
        name, used = Name("/GlyphlessText"), [width_units(cluster) for cluster in self._codes]
        widths = sorted(set(used))
        descriptor = Dictionary(
            Type=Name.FontDescriptor,
            FontName=name,
            Flags=4,  # symbolic
            FontBBox=[0, 0, widths[-1], UNITS],
            ItalicAngle=0,
            Ascent=UNITS,
            Descent=-1,  # readers take 0 for unknown, and assume more
            CapHeight=UNITS,
            StemV=80,
            FontFile2=pdf.make_stream(_true_type_file(widths)),
        )
        descendant = Dictionary(
            Type=Name.Font,
            Subtype=Name.CIDFontType2,
            BaseFont=name,
            CIDSystemInfo=Dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
            FontDescriptor=pdf.make_indirect(descriptor),
            DW=LETTER,
            W=Array([1, Array(used)]),
            CIDToGIDMap=pdf.make_stream(
                b"".join((widths.index(width) + 1).to_bytes(2) for width in [widths[0], *used])
            ),
        )
        font = Dictionary(
            Type=Name.Font,
            Subtype=Name.Type0,
            BaseFont=name,
            Encoding=Name("/Identity-H"),
            DescendantFonts=[pdf.make_indirect(descendant)],
            ToUnicode=Stream(pdf, self._to_unicode()),
        )
        return pdf.make_indirect(font)

    def _to_unicode(self) -> bytes:
        rows = [f"<{code:04x}> <{text.encode('utf-16-be').hex()}>" for text, code in self._codes.items()]
        blocks = [rows[at : at + 100] for at in range(0, len(rows), 100)]
        mappings = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
        return TO_UNICODE.format(mappings=mappings).encode("ascii")


def width_units(cluster: str) -> int:
    """Return the width of a letter in the font, in UNITS."""
    return round(LETTER * (SPACE if cluster == " " else width_of(cluster)))


TO_UNICODE = """/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <ffff>
endcodespacerange
{mappings}
endcmap
CMapName currentdict /CMap defineresource pop
end
end
"""


def _true_type_file(widths: Sequence[int]) -> bytes:
    """Return a TrueType font with the tables that PDF requires: glyph 0, and then a glyph for each width.

    A glyph is a line without thickness from corner to corner: PDFium takes the extent of letters from the glyphs, and
    leaves out turned text whose glyphs have none.
    """
    glyphs = [b"", *map(_glyph, widths)]
    ends = list(accumulate(map(len, glyphs), initial=0))
    tables = {
        b"glyf": b"".join(glyphs),
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh",
            *(0x10000, 0x10000, 0, 0x5F0F3CF5, 0b11, UNITS, 0, 0, 0, 0, max(widths), UNITS, 0, 8, 2, 0, 0),
        ),
        b"hhea": struct.pack(
            ">IhhhHhhhhhh8xhH", 0x10000, UNITS, 0, 0, max(widths), 0, 0, max(widths), 1, 0, 0, 0, len(glyphs)
        ),
        b"hmtx": b"".join(struct.pack(">Hh", width, 0) for width in (LETTER, *widths)),
        b"loca": b"".join(struct.pack(">H", end // 2) for end in ends),
        b"maxp": struct.pack(">IHHH22x", 0x10000, len(glyphs), 3, 1),
    }
    return _true_type_of(tables)


def _glyph(width: int) -> bytes:
    """Return a glyph of one contour with three points, the last of which is the first."""
    flags, across, up = (1, 1, 1), (0, width, -width), (0, UNITS, -UNITS)
    return struct.pack(">hhhhh HH 3B 3h 3h x", 1, 0, 0, width, UNITS, 2, 0, *flags, *across, *up)


def _true_type_of(tables: dict[bytes, bytes]) -> bytes:
    at = 12 + 16 * len(tables)
    # The search fields for six tables: the largest power of two is four.
    head, body = struct.pack(">IHHHH", 0x10000, len(tables), 64, 2, 32), b""
    for tag, table in tables.items():
        padded = table + bytes(-len(table) % 4)
        head += struct.pack(">4sIII", tag, _checksum(padded), at + len(body), len(table))
        body += padded
    return head + body


def _checksum(padded: bytes) -> int:
    return int(sum(struct.unpack(f">{len(padded) // 4}I", padded)) % 2**32)
