"""Which ZIP archives hold images, and which of their files do not count."""

from collections.abc import Iterable

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
"""How archives begin: with a file, or with the end of an empty archive."""
DOCUMENT_ENTRIES = {"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF", "AndroidManifest.xml"}
"""Files that make an archive an Office document, an e-book or a program."""


def is_document(names: Iterable[str]) -> bool:
    """Return True for an archive with files of these names that is one document, and no collection of files."""
    return not DOCUMENT_ENTRIES.isdisjoint(names)


def is_hidden(name: str) -> bool:
    """Return True for a file that an operating system has added to an archive without the user's doing."""
    folders_and_name = [part for part in name.split("/") if part not in {".", ".."}]
    return folders_and_name[:1] == ["__MACOSX"] or any(part.startswith(".") for part in folders_and_name)
