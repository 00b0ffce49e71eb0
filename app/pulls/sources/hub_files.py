"""Lists the files of a repository of the hub: their sizes, digests and URLs. The functions block.

huggingface_hub only lists the files; our HTTP client downloads them into staging, with range requests. There are three
reasons. huggingface_hub downloads into a cache, which takes twice the disk space and a copy. It no longer resumes
downloads, because its locks are not reliable on network file systems. Its fast path is a native library that our
limits, cancellations and digests do not reach.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fnmatch import translate

import httpx
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from app.errors import PullsMisconfigured, SourceMismatch, SourceNotFound, SourceUnavailable
from app.fetching.foreign_text import printable
from app.fetching.http_client import refusal
from app.pulls.request import SHA256_PATTERN, PullRequest, model_name
from app.pulls.sources.base import SourceFile
from app.pulls.sources.bounded_answers import bound_answers
from app.pulls.sources.hub_hints import HUB_HINTS

TIMEOUT_SECONDS = 10.0
MAX_SHOWN_NAME = 100
MAX_SIZE_BYTES = 1 << 60
COMMIT = re.compile(r"[0-9A-Za-z][\w-]{0,99}", re.ASCII)
NO_TOKEN = False
"""Tells huggingface_hub to send no token. None would make it send a token that it finds on this machine."""


def find_files(request: PullRequest, endpoint: str | None, token: str | None) -> list[SourceFile]:
    """Return the files of a request for a repository, all of one commit.

    Raises SourceNotFound, SourceRefused, SourceMismatch, SourceUnavailable.
    """
    if request.file:
        with _explaining(f"{request.file!r} of {request.repository}"):
            bound_answers()
            return [_one(request.repository or "", request.file, request.revision, endpoint, token)]
    with _explaining(f"repository {request.repository}"):
        bound_answers()
        return _several(request, endpoint, token)


def _one(repository: str, file: str, revision: str, endpoint: str | None, token: str | None) -> SourceFile:
    """Return one file. A `HEAD` request yields its commit, its size and, for a large file, its SHA-256."""
    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
    found = get_hf_file_metadata(url, token=token or NO_TOKEN, endpoint=endpoint, timeout=TIMEOUT_SECONDS)
    url = hf_hub_url(repository, file, revision=_commit(found.commit_hash, revision), endpoint=endpoint)
    return SourceFile(model_name(repository, file), url, _size(found.size), _sha256(found.etag))


def _several(request: PullRequest, endpoint: str | None, token: str | None) -> list[SourceFile]:
    repository, pattern = request.repository or "", request.files or ""
    api = HfApi(endpoint=endpoint, token=token or NO_TOKEN)
    found = api.model_info(repository, revision=request.revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    files = {sibling.rfilename: sibling for sibling in found.siblings or ()}
    revision = _commit(found.sha, request.revision)
    sources = [
        SourceFile(
            model_name(repository, file),
            hf_hub_url(repository, file, revision=revision, endpoint=endpoint),
            _size(files[file].size),
            _sha256(files[file].lfs.sha256) if files[file].lfs else None,  # type: ignore[union-attr]  # checked in the same line
        )
        for file in matching(files, pattern)
    ]
    if not sources:
        names = ", ".join(printable(file, MAX_SHOWN_NAME) for file in sorted(files)[:20]) or "no files"
        raise SourceNotFound(f"file like {pattern!r} in {repository}", f"the repository holds {names}")
    return sources


def matching(files: Iterable[str], pattern: str) -> list[str]:
    """Return the files that match a shell pattern, sorted."""
    # Not `fnmatch.fnmatchcase`, which keeps the last 32,768 patterns, and the patterns are those of the requests.
    matches = re.compile(translate(pattern)).match
    return sorted(file for file in files if matches(file))


def _commit(commit: str | None, revision: str) -> str:
    """Return the commit that the hub names, or `revision` if the hub names none.

    Raises ValueError for an invalid commit.
    """
    if commit and not COMMIT.fullmatch(commit):
        raise ValueError("not a commit")
    return commit or revision


def _size(size_bytes: int | None) -> int | None:
    """Return the size that the hub states, in bytes; None if it states none.

    Raises ValueError for an impossible size.
    """
    if size_bytes is not None and not (isinstance(size_bytes, int) and 0 <= size_bytes <= MAX_SIZE_BYTES):
        raise ValueError("not a size")
    return size_bytes


def _sha256(text: str | None) -> str | None:
    """Return an ETag's text if it is a SHA-256, else None: the ETag of a small file is a digest of another kind."""
    return text.lower() if text and re.fullmatch(SHA256_PATTERN, text) else None


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    try:
        yield
    except HfHubHTTPError as exc:
        raise refusal(what, exc.response.status_code, exc.response.headers, HUB_HINTS) from exc
    except HFValidationError as exc:
        raise SourceNotFound(what, f"{printable(str(exc))}. {HUB_HINTS.not_found}") from exc
    except OfflineModeIsEnabled as exc:
        raise PullsMisconfigured("HF_HUB_OFFLINE forbids every request to a hub") from exc
    except (httpx.RequestError, OSError, ArithmeticError) as exc:  # OverflowError for a port beyond 65535
        raise SourceUnavailable(what, printable(str(exc)) or type(exc).__name__) from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        # Raised by huggingface_hub when it cannot read an answer, such as the page of a website.
        raise SourceMismatch(what, "the answer is not that of a hub; check OCR_HUB_ENDPOINT") from exc
