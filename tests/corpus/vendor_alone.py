"""Reads files with the vendor's library alone, in its own process: a language and a path a line in, a line of JSON out.

    python -m tests.corpus.vendor_alone < LANGUAGES_AND_PATHS

The environment must be that of an engine process.
"""

import json
import sys
from pathlib import Path

from aspose.ocr import AsposeOcr, InputType, Language, OcrInput, RecognitionSettings, Resources

from app.engine.child.results import NOTICE


def input_type(path: Path) -> InputType:
    """Return the vendor's type of a file, which a caller of the vendor has to know."""
    head = path.read_bytes()[:1024]
    if b"%PDF-" in head:
        return InputType.PDF
    return InputType.TIFF if head[:2] in {b"II", b"MM"} else InputType.SINGLE_IMAGE


def read(path: Path, language: str) -> list[str] | None:
    """Return the text of each page without the notice of the evaluation, or None if the vendor raises an error."""
    source, settings = OcrInput(input_type(path)), RecognitionSettings()
    settings.language = getattr(Language, language.upper())
    try:
        source.add(str(path))
        return [NOTICE.sub("", str(page.recognition_text)) for page in AsposeOcr().recognize(source, settings)]
    except RuntimeError:
        return None


if __name__ == "__main__":
    Resources.allow_automatic_downloads(False)  # noqa: FBT003 - the vendor takes no keywords
    for line in sys.stdin:
        named, _, file = line.strip().partition(" ")
        print(json.dumps(read(Path(file), named)), flush=True)
