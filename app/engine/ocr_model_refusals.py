"""The OCR models that the vendor has refused in a recognition. The vendor refuses a file only for its size."""

from app.errors import ResourceRefused


class OcrModelRefusals:
    """The vendor's refusals of OCR models since the service started, by file name.

    The vendor knows about 25 file names.
    """

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}

    def note(self, refusal: ResourceRefused) -> None:
        """Remember that the vendor refused a file of this size."""
        self._sizes[refusal.file] = refusal.size_bytes

    def is_refused(self, file: str, size_bytes: int) -> bool:
        """Return True if the vendor has refused this file, and the file still has the refused size."""
        return self._sizes.get(file) == size_bytes
