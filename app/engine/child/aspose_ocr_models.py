"""The vendor's OCR models: the files `<name>.ocr` with which recognition reads some languages and kinds of document.

The vendor manages them with the static class `Resources`, whose settings hold for the whole process.
docs/ocr-models.md describes what it does, measured with aspose-ocr-python-net 26.10.0.
"""

import re
from pathlib import Path

from aspose.ocr import Resources

from app.engine.contract.ocr_models import file_of, resource_of
from app.errors import ImageError, ResourceMissing, ResourceRefused

MAX_LISTED = 1000
"""How many names of OCR models are reported at most: a folder of other files must not fill a message. The vendor's
package knows about 25 names."""
NEEDED = re.compile(r"install the '([^']+)'")
"""Finds the name of the file that a recognition needs in the text of the vendor's error."""


def use_folder(folder: Path) -> bool:
    """Make the vendor look for OCR models in this folder, and never download one. False if the folder does not exist.

    Blocks for about 20 ms at the first call. The vendor looks at the files again at each recognition, so a file that
    arrives later counts without another call.
    """
    Resources.allow_automatic_downloads(False)  # noqa: FBT003 - the vendor takes no keywords
    if not folder.is_dir():  # the vendor would raise an error; the store reports the missing folder
        return False
    Resources.set_local_path(str(folder), False)  # noqa: FBT003 - False: create no folder
    return True


def listed(folder: Path) -> list[str]:
    """Return the vendor's `Resources.list_local()`: names without `.ocr`, sorted, at most MAX_LISTED.

    The vendor lists each file of the folder itself whose name ends with `.ocr`, also hidden files, links and names that
    it does not know. It looks at no file's size or content.
    """
    return sorted(map(str, Resources.list_local()))[:MAX_LISTED] if use_folder(folder) else []


def model_names(names: list[str]) -> list[str]:
    """Return the names that `listed` returns as names of models, with the suffix `.ocr`."""
    return [file_of(name) for name in names]


def refusal(exc: RuntimeError) -> ImageError | None:
    """Return the ImageError for the vendor's error about an OCR model, or None if the error is about something else.

    The vendor raises the same error for a missing file and for a file that does not have the size that the vendor
    expects.
    """
    match = NEEDED.search(str(exc))
    if match is None:
        return None
    file = Path(Resources.get_local_path(), match[1])
    try:
        return ResourceRefused(resource_of(match[1]), file.stat().st_size)
    except OSError:
        return ResourceMissing(resource_of(match[1]))
