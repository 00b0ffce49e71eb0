"""The PDFs of the corpus. Most draw the page as a picture, in a box of its own size in points."""

import base64
import io
import zlib
from functools import partial
from pathlib import Path

from PIL import Image, TiffImagePlugin

from app.engine.contract.page_warnings import PageWarningCode
from app.errors import EncryptedPdf, UnreadableImage
from tests.corpus.case import LINES, PAGE, Case, saved
from tests.support.files import pictures
from tests.support.files.hostile_images import CATALOG, pdf, stream

WIDTH, HEIGHT = PAGE.size
BOX = b"/MediaBox[0 0 %d %d]" % PAGE.size
FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
AES_FILES = Path(__file__).parent
"""The folder of two PDFs in AES-256, which nothing that the tests install can encrypt."""


def picture(image: Image.Image = PAGE, *filters: bytes, data: bytes | None = None, more: bytes = b"") -> bytes:
    colour = {"1": b"/DeviceGray", "L": b"/DeviceGray", "RGB": b"/DeviceRGB"}[image.mode]
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent %d/ColorSpace%s" % (
        *image.size,
        1 if image.mode == "1" else 8,
        colour,
    )
    if data is None:
        return stream(entries + more, image.tobytes(), b"FlateDecode")
    return b"<<%s%s/Filter/%s/Length %d>>\nstream\n%s\nendstream" % (entries, more, filters[0], len(data), data)


def drawn(
    boxes: bytes = BOX,
    content: bytes = b"",
    image: bytes | None = None,
    *objects: bytes,
    inherited: bytes = b"",
    page: bytes = b"",
) -> bytes:
    """Return a PDF of one page that draws a picture; the further objects have the numbers from 6."""
    content = content or b"q %d 0 0 %d 0 0 cm /X Do Q" % PAGE.size
    return pdf(
        CATALOG,
        b"<</Type/Pages/Kids[3 0 R]/Count 1%s>>" % inherited,
        b"<</Type/Page/Parent 2 0 R%s/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>%s>>" % (boxes, page),
        stream(b"", content),
        image or picture(),
        *objects,
    )


def at(x: float, y: float, scale: float = 1) -> bytes:
    """Return the content that draws the page with its lower left corner here."""
    return b"q %f 0 0 %f %f %f cm /X Do Q" % (WIDTH * scale, HEIGHT * scale, x, y)


TURNED = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


def rotated(degrees: int, *, is_inherited: bool = False) -> bytes:
    """Return a page whose picture lies so that /Rotate turns it upright."""
    image = PAGE.transpose(TURNED[degrees % 360])
    box, turn = b"/MediaBox[0 0 %d %d]" % image.size, b"/Rotate %d" % degrees
    content = b"q %d 0 0 %d 0 0 cm /X Do Q" % image.size
    if is_inherited:
        return drawn(b"", content, picture(image), inherited=box + turn)
    return drawn(box + turn, content, picture(image))


def turned_by_its_matrix() -> bytes:
    return drawn(
        BOX, b"q 0 %d %d 0 0 0 cm /X Do Q" % (HEIGHT, WIDTH), picture(PAGE.transpose(Image.Transpose.TRANSVERSE))
    )


def fax_coded() -> bytes:
    """Return a picture in CCITT code, as scanners write it."""
    bilevel = PAGE.convert("1")
    content = saved(bilevel, "TIFF", compression="group4", tiffinfo={278: HEIGHT})
    tags = TiffImagePlugin.TiffImageFile(io.BytesIO(content)).tag_v2
    offset, size, is_black = tags[273][0], tags[279][0], tags[262] == 1
    parameters = b"/DecodeParms<</K -1/Columns %d/Rows %d/BlackIs1 %s>>" % (
        WIDTH,
        HEIGHT,
        b"true" if is_black else b"false",
    )
    return drawn(image=picture(bilevel, b"CCITTFaxDecode", data=content[offset : offset + size], more=parameters))


def masked() -> bytes:
    """Return a page whose text is a mask: black where the mask is."""
    entries = b"/Type/XObject/Subtype/Image/ImageMask true/Width %d/Height %d/BitsPerComponent 1" % PAGE.size
    return drawn(image=stream(entries, PAGE.convert("1").tobytes(), b"FlateDecode"))


def ascii_coded() -> bytes:
    data = base64.a85encode(zlib.compress(PAGE.tobytes())) + b"~>"
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceGray" % PAGE.size
    coded = b"<<%s/Filter[/ASCII85Decode/FlateDecode]/Length %d>>\nstream\n%s\nendstream" % (entries, len(data), data)
    return drawn(image=coded)


def with_attachment() -> bytes:
    content = drawn(
        BOX, b"", None, stream(b"/Type/EmbeddedFile", b"a,b"), b"<</Type/Filespec/F(data.csv)/EF<</F 6 0 R>>>>"
    )
    names = b"<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles<</Names[(data.csv) 7 0 R]>>>>>>"
    return content.replace(CATALOG, names)


def with_attached_note() -> bytes:
    note = b"<</Type/Annot/Subtype/FileAttachment/Rect[0 0 1 1]/F 2/FS<</Type/Filespec/F(note.txt)>>>>"
    return drawn(BOX, b"", None, note, page=b"/Annots[6 0 R]")


def text_page(page: bytes = b"", catalog: bytes = b"", *objects: bytes, content: bytes | None = None) -> bytes:
    """Return a page of the size of PAGE, in points, that writes its lines; further objects have the numbers from 6."""
    lines = b" ".join(b"(%s) Tj T*" % line.encode() for line in LINES)
    content = b"BT /F 28 Tf 42 TL 28 %d Td %s ET" % (HEIGHT - 70, lines) if content is None else content
    return pdf(
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R%s/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>%s>>" % (BOX, page),
        stream(b"", content),
        FONT,
        *objects,
    )


def form(appearance: bytes = b"", fields: bytes = b"", *objects: bytes) -> bytes:
    """Return a page without content, whose text field has the lines as its value."""
    widget = (
        b"<</Type/Annot/Subtype/Widget/FT/Tx/Ff 4096/T(note)/F 4/P 3 0 R/Rect[20 20 %d %d]/DA(/F 28 Tf 0 g)/V(%s)%s>>"
    ) % (WIDTH - 10, HEIGHT - 20, "\n".join(LINES).encode(), appearance)
    catalog = b"/AcroForm<</Fields[6 0 R]/DR<</Font<</F 5 0 R>>>>/DA(/F 28 Tf 0 g)%s>>" % fields
    return text_page(b"/Annots[6 0 R]", catalog, widget, *objects, content=b"")


def stamped() -> bytes:
    """Return a page whose text is the appearance of an annotation."""
    lines = b" ".join(b"(%s) Tj T*" % line.encode() for line in LINES)
    look = stream(
        b"/Type/XObject/Subtype/Form/BBox[0 0 %d %d]/Resources<</Font<</F 5 0 R>>>>" % PAGE.size,
        b"BT /F 28 Tf 42 TL 28 %d Td %s ET" % (HEIGHT - 70, lines),
    )
    stamp = b"<</Type/Annot/Subtype/Stamp/F 4/Rect[0 0 %d %d]/AP<</N 7 0 R>>>>" % PAGE.size
    return text_page(b"/Annots[6 0 R]", b"", stamp, look, content=b"")


def form_with_appearance() -> bytes:
    lines = b" ".join(b"(%s) Tj T*" % line.encode() for line in LINES)
    look = stream(
        b"/Type/XObject/Subtype/Form/BBox[0 0 %d %d]/Resources<</Font<</F 5 0 R>>>>" % PAGE.size,
        b"/Tx BMC BT /F 28 Tf 0 g 42 TL 10 %d Td %s ET EMC" % (HEIGHT - 80, lines),
    )
    return form(b"/AP<</N 7 0 R>>", b"", look)


def encrypted(user: str, owner: str | None = None) -> bytes:
    return pictures.encrypted(drawn(), user, owner)


def in_aes(name: str) -> bytes:
    return AES_FILES.joinpath(name).read_bytes()


ATTACHED = (PageWarningCode.ATTACHMENTS_NOT_READ,)
PDF_CASES = [
    Case("PDF", drawn),
    Case("PDF by Pillow", lambda: saved(PAGE, "PDF")),
    Case("PDF, box from right to left", lambda: drawn(b"/MediaBox[%d %d 0 0]" % PAGE.size)),
    Case("PDF, box from top left", lambda: drawn(b"/MediaBox[0 %d %d 0]" % (HEIGHT, WIDTH))),
    Case(
        "PDF, box with a negative origin",
        lambda: drawn(b"/MediaBox[-100 -50 %d %d]" % (WIDTH - 100, HEIGHT - 50), at(-100, -50)),
    ),
    Case(
        "PDF, box with an origin far away",
        lambda: drawn(b"/MediaBox[5000 5000 %d %d]" % (WIDTH + 5000, HEIGHT + 5000), at(5000, 5000)),
    ),
    Case("PDF, inherited box", lambda: drawn(b"", inherited=BOX)),
    Case(
        "PDF, cropped",
        lambda: drawn(b"/MediaBox[0 0 2000 2000]/CropBox[500 600 %d %d]" % (WIDTH + 500, HEIGHT + 600), at(500, 600)),
    ),
    Case(
        "PDF, crop box from right to left",
        lambda: drawn(b"/MediaBox[0 0 2000 2000]/CropBox[%d %d 500 600]" % (WIDTH + 500, HEIGHT + 600), at(500, 600)),
    ),
    Case("PDF, crop box larger than the page", lambda: drawn(BOX + b"/CropBox[-50 -50 5000 5000]")),
    Case(
        "PDF, a unit of 10 points",
        lambda: drawn(b"/UserUnit 10/MediaBox[0 0 %.1f %.1f]" % (WIDTH / 10, HEIGHT / 10), at(0, 0, 0.1)),
    ),
    *[Case(f"PDF, turned by {n} degrees", partial(rotated, n)) for n in (90, 180, 270, -90, 450)],
    Case("PDF, inherited rotation", partial(rotated, 90, is_inherited=True)),
    Case("PDF, picture turned by its matrix", turned_by_its_matrix),
    Case("PDF, picture as JPEG", lambda: drawn(image=picture(PAGE, b"DCTDecode", data=saved(PAGE, "JPEG")))),
    Case("PDF, picture as JPEG 2000", lambda: drawn(image=picture(PAGE, b"JPXDecode", data=saved(PAGE, "JPEG2000")))),
    Case("PDF, picture in fax code", fax_coded),
    Case("PDF, picture as a mask", masked),
    Case("PDF, picture in ASCII code", ascii_coded),
    Case("PDF, bytes before its header", lambda: b"\r\n" * 20 + drawn()),
    Case("PDF, restricted, RC4", lambda: encrypted("", "owner")),
    Case("PDF, password, RC4", lambda: encrypted("geheim"), password="geheim"),
    Case("PDF, no password, RC4", lambda: encrypted("geheim"), error=EncryptedPdf),
    Case("PDF, wrong password, RC4", lambda: encrypted("geheim"), error=EncryptedPdf, password="other"),
    Case("PDF, restricted, AES-256", partial(in_aes, "restricted-aes-256.pdf")),
    Case("PDF, password, AES-256", partial(in_aes, "password-aes-256.pdf"), password="pässword"),
    Case("PDF, no password, AES-256", partial(in_aes, "password-aes-256.pdf"), error=EncryptedPdf),
    Case("PDF with an attached file", with_attachment, ATTACHED),
    Case("PDF with an attached note", with_attached_note, ATTACHED),
    Case("PDF, half", lambda: drawn()[: len(drawn()) // 2], error=UnreadableImage),
]
TEXT_CASES = [
    Case("PDF, text", text_page),
    Case("PDF, text in a stamp", stamped),
    Case("PDF, form with an appearance", form_with_appearance),
    Case("PDF, form without an appearance", form),
    Case("PDF, form that needs appearances", lambda: form(b"", b"/NeedAppearances true")),
]
"""PDFs whose text is drawn in a font, so that they show the same text, but not the same pixels."""
