"""The ZIP archives of the corpus."""

import io
import zipfile
from functools import partial

from app.engine.contract.page_warnings import PageWarningCode
from app.errors import UnreadableImage, UnsupportedImage
from tests.corpus.case import PAGE, Case, oriented, saved
from tests.corpus.pdf_files import drawn

PNG = saved(PAGE, "PNG")


def archive(**files: bytes) -> bytes:
    """Return a ZIP archive with these files; `__` in a name stands for a dot and `_in_` for a slash."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name.replace("__", ".").replace("_in_", "/"), content)
    return file.getvalue()


def of_several() -> bytes:
    image, exif = oriented(6)
    jpeg = saved(image, "JPEG", exif=exif.tobytes())
    return archive(b__png=PNG, folder_in_a__jpg=jpeg, folder_in_c__pdf=drawn())


def encrypted() -> bytes:
    """Return an archive whose file says that it is encrypted."""
    content = bytearray(archive(a__png=PNG))
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


NOT_READ = (PageWarningCode.FILES_NOT_READ,)
ZIP_CASES = [
    Case("ZIP of a PNG, a JPEG and a PDF", of_several, page_count=3),
    Case("ZIP of an image and a text", lambda: archive(a__png=PNG, b__txt=b"text"), NOT_READ),
    Case("ZIP of an image and a ZIP", lambda: archive(a__png=PNG, b__zip=archive(c__png=PNG)), NOT_READ),
    Case("ZIP of a text", partial(archive, b__txt=b"text"), error=UnsupportedImage),
    Case("ZIP without files", archive, error=UnsupportedImage),
    Case("ZIP, encrypted", encrypted, error=UnreadableImage),
    Case("ZIP, half", lambda: of_several()[: len(of_several()) // 2], error=UnreadableImage),
    Case("ZIP of half an image", lambda: archive(a__png=PNG[: len(PNG) // 2]), error=UnreadableImage),
    Case("Word document", lambda: archive(mimetype=b"application/x"), error=UnsupportedImage),
]
