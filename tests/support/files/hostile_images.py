"""Small images and PDFs whose structure is hostile: loops, lies about sizes, nesting and decompression bombs.

They are hostile with the default limits, except that a page may have MAX_PIXELS.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Callable

from PIL import Image

MAX_PIXELS = 1_000_000
"""The `OCR_MAX_IMAGE_PIXELS` that the files exceed; with the default the files would have to be larger."""


def tiff(*directories: dict[int, int], next_of: dict[int, int] | None = None, big: bool = False) -> bytes:
    """Return a TIFF of directories that have only tags with one number.

    A tag's value -N stands for the offset of directory N - 1. A value of more than 32 bits becomes the count of the
    tag's values, which then lie at offset 8. `next_of` says which directory follows which; by default each is followed
    by the next one.
    """
    order = {number: number + 1 for number in range(len(directories) - 1)} if next_of is None else next_of
    size, offset = ("<HHQQ", "Q") if big else ("<HHII", "I")
    sizes = [len(tags) * struct.calcsize(size) + (16 if big else 6) for tags in directories]
    starts = list(itertools.accumulate(sizes, initial=16 if big else 8))
    out = bytearray()
    out += struct.pack("<2sHHHQ", b"II", 43, 8, 0, starts[0]) if big else struct.pack("<2sHI", b"II", 42, starts[0])
    for number, tags in enumerate(directories):
        out += struct.pack("<Q" if big else "<H", len(tags))
        for tag, told in sorted(tags.items()):
            count, value = (told >> 32, 8) if told >> 32 > 0 else (1, told)
            out += struct.pack(size, tag, 16 if big else 4, count, starts[-value - 1] if value < 0 else value)
        out += struct.pack("<" + offset, starts[order[number]] if number in order else 0)
    return bytes(out)


def page_tags(side: int = 8, **more: int) -> dict[int, int]:
    """Return the tags of a directory with a white page of one bit a pixel, whose data is the beginning of the file."""
    return {256: side, 257: side, 258: 1, 259: 1, 262: 0, 273: 0, 277: 1, 278: side, 279: side * ((side + 7) // 8)} | {
        int(tag.removeprefix("t")): value for tag, value in more.items()
    }


def pdf(*objects: bytes) -> bytes:
    """Return a PDF of these objects, numbered from 1; the first is the catalog."""
    out, offsets = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + each + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1,
        table,
        len(objects) + 1,
        len(out),
    )


def stream(entries: bytes, data: bytes, *filters: bytes) -> bytes:
    """Return a stream object; its data is compressed once for each `FlateDecode` among the filters."""
    for _ in range(filters.count(b"FlateDecode")):
        data = zlib.compress(data, 9)
    named = b"/Filter[" + b"".join(b"/" + each for each in filters) + b"]" if filters else b""
    return b"<<%s%s/Length %d>>\nstream\n%s\nendstream" % (entries, named, len(data), data)


CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"


def one_page(entries: bytes, *objects: bytes) -> bytes:
    """Return a PDF with one page that has these entries; the further objects have the numbers from 4."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]" + entries + b">>"
    return pdf(CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, *objects)


def picture(width: int, height: int, data: bytes = b"\0", *filters: bytes, more: bytes = b"") -> bytes:
    """Return a gray picture for a PDF."""
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceGray" % (
        width,
        height,
    )
    return stream(entries + more, data, *filters)


def form(resources: bytes, content: bytes = b"/X Do") -> bytes:
    """Return a form: a content of its own that a page draws."""
    return stream(b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]/Resources<<" + resources + b">>", content)


def jpeg(width: int, height: int) -> bytes:
    """Return a black JPEG."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "JPEG")
    return file.getvalue()


HUGE = (40_000, 40_000)
DRAWS = b"/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>"
CONTENT = stream(b"", b"200 0 0 200 0 0 cm /X Do")
STITCHED = b"<</FunctionType 3/Domain[0 1]/Functions[%d 0 R %d 0 R]/Bounds[.5]/Encode[0 1 0 1]>>"

LOOPS: dict[str, Callable[[], bytes]] = {
    "a TIFF directory that is followed by itself": lambda: tiff(page_tags(), next_of={0: 0}),
    "a TIFF directory that is followed by an earlier one": lambda: tiff(
        *[page_tags()] * 4, next_of={0: 1, 1: 2, 2: 3, 3: 1}
    ),
    "a BigTIFF directory that is followed by itself": lambda: tiff(page_tags(), next_of={0: 0}, big=True),
    "a TIFF whose sub-directory is its directory": lambda: tiff(page_tags(t330=-1)),
    "a TIFF whose sub-directories refer to each other": lambda: tiff(
        page_tags(t330=-2), {330: -3}, {330: -2}, next_of={}
    ),
    "a TIFF whose Exif directory is its own": lambda: tiff(page_tags(t34665=-2), {34665: -2}, next_of={}),
    "a TIFF that states more values than it has bytes": lambda: tiff(page_tags(t273=1 << 61)),
    "a BigTIFF that states more values than it has bytes": lambda: tiff(page_tags(t273=1 << 90), big=True),
    "a PDF whose page tree contains itself": lambda: pdf(
        CATALOG, b"<</Type/Pages/Kids[3 0 R 2 0 R]/Count 2>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"
    ),
    "a PDF whose page tree is its root's child twice over": lambda: pdf(
        CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", b"<</Type/Pages/Parent 2 0 R/Kids[2 0 R]/Count 1>>"
    ),
    "a form that draws itself": lambda: one_page(DRAWS, CONTENT, form(b"/XObject<</X 5 0 R>>")),
    "two forms that draw each other": lambda: one_page(
        DRAWS, CONTENT, form(b"/XObject<</X 6 0 R>>"), form(b"/XObject<</Y#20 5 0 R>>", b"/Y#20%\nDo")
    ),
    "a colour space that is based on itself": lambda: one_page(
        b"/Resources<</ColorSpace<</C 4 0 R>>>>", b"[/Indexed 4 0 R 1 <00>]"
    ),
    "a function that consists of itself": lambda: one_page(
        b"/Resources<</Shading<</S 4 0 R>>>>",
        b"<</ShadingType 2/ColorSpace/DeviceRGB/Function 5 0 R>>",
        STITCHED % (5, 5),
    ),
    "two functions that consist of each other": lambda: one_page(
        b"/Resources<</Shading<</S<</Function 4 0 R>>>>>>", STITCHED % (5, 5), STITCHED % (4, 4)
    ),
    "a page tree of a negative number of pages": lambda: pdf(
        CATALOG, b"<</Type/Pages/Kids[3 0 R]/Count -1>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>"
    ),
    "a branch of a page tree that states too many pages": lambda: pdf(
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Pages/Parent 2 0 R/Kids[4 0 R]/Count 2000000000>>",
        b"<</Type/Page/Parent 3 0 R/MediaBox[0 0 200 200]>>",
    ),
}
"""Files whose parts refer to each other in a circle, or state impossible values."""
TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "a TIFF of twenty thousand directories": lambda: tiff(*[page_tags()] * 20_000),
    "a TIFF whose sub-directories double at each step": lambda: tiff(
        page_tags(t330=-2), *[{330: -number, 34665: -number} for number in range(3, 30)], {}, next_of={}
    ),
    "a PDF whose pages double at each step": lambda: pdf(
        CATALOG,
        *[b"<</Type/Pages/Kids[%d 0 R %d 0 R]/Count 2>>" % (number, number) for number in range(3, 31)],
        b"<</Type/Page/MediaBox[0 0 200 200]>>",
    ),
    "forms that draw ten times as many at each step": lambda: one_page(
        DRAWS,
        CONTENT,
        *[form(b"/XObject<</X %d 0 R>>" % number, b"/X Do " * 10) for number in range(6, 14)],
        form(b"", b""),
    ),
    "a huge picture in a form in a form": lambda: one_page(
        DRAWS, CONTENT, form(b"/XObject<</X 6 0 R>>"), form(b"/XObject<</X 7 0 R>>"), picture(*HUGE)
    ),
    "a huge picture in a pattern": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Pattern<</P 5 0 R>>>>",
        stream(b"", b"/Pattern cs /P scn 0 0 200 200 re f"),
        stream(
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9"
            b"/Resources<</XObject<</X 6 0 R>>>>",
            b"/X Do",
        ),
        picture(*HUGE),
    ),
    "a pattern of tiny tiles": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Pattern<</P 5 0 R>>>>",
        stream(b"", b"/Pattern cs /P scn 0 0 200 200 re f"),
        stream(
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep .00001/YStep .00001"
            b"/Resources<<>>",
            b"0 0 1 1 re f",
        ),
    ),
    "a pattern that is tiny only for the second page": lambda: pdf(
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2/Resources<</Pattern<</P 6 0 R>>>>>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 2 2]/Contents 5 0 R>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 5 0 R>>",
        stream(b"", b"/Pattern cs /P scn 0 0 200 200 re f"),
        stream(
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep .05/YStep .05/Resources<<>>",
            b"0 0 1 1 re f",
        ),
    ),
    "a pattern of tiles that a matrix makes tiny": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Pattern<</P 5 0 R>>>>",
        stream(b"", b"/Pattern cs /P scn 0 0 200 200 re f"),
        stream(
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9"
            b"/Matrix[.00001 0 0 .00001 0 0]/Resources<<>>",
            b"0 0 1 1 re f",
        ),
    ),
    "a huge picture in an annotation": lambda: one_page(
        b"/Annots[4 0 R]",
        b"<</Type/Annot/Subtype/Stamp/Rect[0 0 200 200]/AP<</N 5 0 R>>>>",
        form(b"/XObject<</X 6 0 R>>"),
        picture(*HUGE),
    ),
    "a huge mask of a small picture": lambda: one_page(
        DRAWS, CONTENT, picture(1, 1, more=b"/SMask 6 0 R"), picture(*HUGE)
    ),
    "a huge picture in a font's letter": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>",
        stream(b"", b"BT /F 9 Tf (a) Tj ET"),
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/CharProcs<</a 6 0 R>>/FirstChar 97"
        b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/Resources<</XObject<</X 7 0 R>>>>>>",
        stream(b"", b"/X Do"),
        picture(*HUGE),
    ),
    "a huge picture in the content itself": lambda: one_page(
        b"/Contents 4 0 R", stream(b"", b"BI /W 40000 /H 40000 /BPC 8 /CS /G ID x EI")
    ),
    "a picture whose JPEG is larger than it states": lambda: one_page(
        DRAWS, CONTENT, picture(10, 10, jpeg(2000, 2000), b"DCTDecode")
    ),
    "a picture whose JPEG is compressed again": lambda: one_page(
        DRAWS, CONTENT, picture(10, 10, jpeg(2000, 2000), b"FlateDecode", b"DCTDecode")
    ),
    "a fax whose parameters are larger than it states": lambda: one_page(
        DRAWS,
        CONTENT,
        picture(10, 10, b"\0", b"CCITTFaxDecode", more=b"/DecodeParms<</K -1/Columns 2000/Rows 2000>>"),
    ),
    "a picture that inflates to more than its size": lambda: one_page(
        DRAWS, CONTENT, picture(10, 10, bytes(20_000_000), b"FlateDecode")
    ),
    "a picture that inflates twice": lambda: one_page(
        DRAWS, CONTENT, picture(10, 10, bytes(20_000_000), b"FlateDecode", b"FlateDecode")
    ),
    "a content that inflates to a hundred megabytes": lambda: one_page(
        b"/Contents 4 0 R", stream(b"", b"0 0 m " * 13_000_000, b"FlateDecode")
    ),
}
"""Small files whose content is too large."""

SELF_MASKED = b"<</SMask<</S/Luminosity/G 6 0 R>>>>"
PATTERNED = stream(b"", b"/Pattern cs /P scn 0 0 200 200 re f")
ODD: dict[str, Callable[[], bytes]] = {
    "a page that is turned by 10^20 degrees": lambda: one_page(b"/Rotate 1" + b"0" * 20),
    "a page that is turned by a name": lambda: one_page(b"/Rotate/a"),
    "a page that is its own content": lambda: one_page(b"/Contents 3 0 R"),
    "a content that lists its page and itself": lambda: one_page(b"/Contents[3 0 R 4 0 R]", b"[3 0 R 4 0 R]"),
    "one page forty times": lambda: pdf(
        CATALOG,
        b"<</Type/Pages/Kids[" + b"3 0 R " * 40 + b"]/Count 40>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 20 20]/Contents 4 0 R>>",
        stream(b"", b"0 0 m " * 10_000, b"FlateDecode"),
    ),
    "a table of objects that follows itself": lambda: (one := one_page(b"")).replace(
        b"/Root 1 0 R", b"/Root 1 0 R/Prev %d" % one.index(b"xref\n")
    ),
    "a content with fifty filters": lambda: one_page(b"/Contents 4 0 R", stream(b"", b"q Q", *[b"FlateDecode"] * 50)),
    "a picture that is its own mask": lambda: one_page(
        DRAWS, CONTENT, picture(10, 10, bytes(100), more=b"/SMask 5 0 R")
    ),
    "five hundred masks of masks": lambda: one_page(
        DRAWS,
        CONTENT,
        *[picture(10, 10, bytes(100), more=b"/SMask %d 0 R" % number) for number in range(6, 506)],
        picture(10, 10, bytes(100)),
    ),
    "a mask that is drawn with itself": lambda: one_page(
        b"/Contents 4 0 R/Resources<</ExtGState<</G 5 0 R>>>>",
        stream(b"", b"/G gs 0 0 100 100 re f"),
        SELF_MASKED,
        form(b"/ExtGState<</G 5 0 R>>", b"/G gs 0 0 100 100 re f"),
    ),
    "a letter that is written with its own font": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>",
        stream(b"", b"BT /F 9 Tf (a) Tj ET"),
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/CharProcs<</a 6 0 R>>/FirstChar 97"
        b"/LastChar 97/Widths[9]/Encoding<</Differences[97/a]>>/Resources<</Font<</F 5 0 R>>>>>>",
        stream(b"", b"BT /F 9 Tf (aaaaaaaa) Tj ET"),
    ),
    "a pattern that is filled with itself": lambda: one_page(
        b"/Contents 4 0 R/Resources<</Pattern<</P 5 0 R>>>>",
        PATTERNED,
        stream(
            b"/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 9 9]/XStep 9/YStep 9"
            b"/Resources<</Pattern<</P 5 0 R>>>>",
            b"/Pattern cs /P scn 0 0 200 200 re f",
        ),
    ),
    "an array in a hundred thousand arrays": lambda: one_page(b"/X " + b"[" * 100_000 + b"]" * 100_000),
    "a page of infinite size": lambda: one_page(b"/MediaBox[0 0 1e400 1e400]"),
}
"""PDFs that are read or refused, each in less than a second of CPU."""
ENDLESS: dict[str, Callable[[], bytes]] = {
    "a GIF with 200,000 comments": lambda: _gif_with(b"\x21\xfe\x01a\x00" * 200_000),
    "a JPEG with two million bytes between two markers": lambda: _after(_encoded("JPEG", "L"), 2, b"\xff" * 2_000_000),
}
"""Files that cost a parser seconds of CPU; larger ones cost hours."""


def _encoded(name: str, mode: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 64)).save(file, name)
    return file.getvalue()


def _gif_with(extensions: bytes) -> bytes:
    gif = _encoded("GIF", "P")
    colours = 2 << (gif[10] & 7) if gif[10] & 0x80 else 0
    return _after(gif, 13 + 3 * colours, extensions)


def _after(content: bytes, place: int, more: bytes) -> bytes:
    return content[:place] + more + content[place:]
