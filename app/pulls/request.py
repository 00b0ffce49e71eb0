"""The request of a pull: which files of a repository, URL or OCR model to fetch, and which models they become."""

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

MAX_REPOSITORY_LENGTH = MAX_REVISION_LENGTH = 200
MAX_TEXT_LENGTH = 2048
REPOSITORY = r"[\w.-]+(/[\w.-]+)?"
REFUSED_IN_REVISIONS = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.")
"""Matches what git forbids in the name of a branch or a tag."""
RESOURCE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
"""Matches the vendor's name of an OCR model, such as `aspose-ocr-cyrillic-v1`."""
SHA256_PATTERN = r"[0-9a-fA-F]{64}"


class IfExists(StrEnum):
    """What a pull does if the model exists already."""

    FAIL = "fail"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """The files to pull: `repository` with `file` or `files`, or `url`, or `resource`.

    Raises ValueError for any other combination.
    """

    repository: str | None = None
    file: str | None = None
    """The file's path in the repository."""
    files: str | None = None
    """A shell pattern for several files."""
    revision: str = "main"
    url: str | None = None
    name: str | None = None
    """The name of the model that a URL becomes."""
    sha256: str | None = None
    if_exists: IfExists = IfExists.FAIL
    resource: str | None = None
    """The vendor's name of an OCR model; `.ocr` at its end is removed."""

    def __post_init__(self) -> None:
        self._check_texts()
        if sum(each is not None for each in (self.repository, self.url, self.resource)) != 1:
            raise ValueError("Give one of repository, url and resource")
        if self.resource and (self.file or self.files or self.name):
            raise ValueError("With resource, file, files and name must not be given")
        if self.repository and (self.file is None) == (self.files is None):
            raise ValueError("With repository, give either file or files")
        if self.url and (self.file or self.files):
            raise ValueError("With url, file and files must not be given")
        if self.url and not self.target:
            raise ValueError("With a url whose path ends with '/', name must be given")
        if self.repository and self.name:
            raise ValueError("With repository, name must not be given: the model's name is <org>_<repo>/<file>")
        if self.files and self.sha256:
            raise ValueError("With files, sha256 must not be given: it is the digest of one file")

    def _check_texts(self) -> None:
        for name in ("file", "files", "url", "name"):
            if not _is_text(getattr(self, name), MAX_TEXT_LENGTH):
                raise ValueError(f"{name} must have 1 to {MAX_TEXT_LENGTH} characters")
        if not _is_text(self.revision, MAX_REVISION_LENGTH):
            raise ValueError(f"revision must have 1 to {MAX_REVISION_LENGTH} characters")
        if any(part in {"", ".", ".."} for part in self.revision.split("/")) or REFUSED_IN_REVISIONS.search(
            self.revision
        ):
            raise ValueError("revision must be the name of a branch, a tag or a commit")
        if not _is_text(self.repository, MAX_REPOSITORY_LENGTH, REPOSITORY):
            raise ValueError("repository must be the name of a repository, such as org/repo")
        if self.resource:
            object.__setattr__(self, "resource", self.resource.removesuffix(".ocr"))
        if not _is_text(self.resource, MAX_TEXT_LENGTH, RESOURCE):
            raise ValueError("resource must be the name of an OCR model, such as aspose-ocr-cyrillic-v1")
        if not _is_text(self.sha256, MAX_TEXT_LENGTH, SHA256_PATTERN):
            raise ValueError("sha256 must have 64 hexadecimal digits")
        if self.sha256:
            object.__setattr__(self, "sha256", self.sha256.lower())  # all other digests are in lower case

    @property
    def target(self) -> str:
        """The name of the model to be pulled, or the pattern of several names."""
        if self.repository:
            return model_name(self.repository, self.file or self.files or "")
        if self.resource:
            return f"{self.resource}.ocr"
        path = re.split(r"[?#]", self.url or "", maxsplit=1)[0]
        return self.name or unquote(path.rpartition("/")[2])

    def to_record(self) -> dict[str, Any]:
        """Return the fields for a job's record.

        `resource` is left out if it is None, so that older services on the folder understand other pulls.
        """
        fields = asdict(self)
        return fields if self.resource else {name: value for name, value in fields.items() if name != "resource"}

    @classmethod
    def from_record(cls, fields: dict[str, Any]) -> "PullRequest":
        """Build a request from a job's record; raises TypeError, ValueError or KeyError if the fields are not valid."""
        if not all(isinstance(value, str | None) for value in fields.values()) or fields["revision"] is None:
            raise TypeError("a request has texts only")
        return cls(**fields | {"if_exists": IfExists(fields["if_exists"])})


def model_name(repository: str, file: str) -> str:
    """Return the model name for a file of a repository: `<org>_<repo>/<file>`, the path where AsposeAI looks for it."""
    return f"{repository.replace('/', '_')}/{file}"


def _is_text(value: str | None, max_length: int, pattern: str = r"(?s:.*)") -> bool:
    return value is None or (0 < len(value) <= max_length and re.fullmatch(pattern, value) is not None)
