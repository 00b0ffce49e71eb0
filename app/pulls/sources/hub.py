"""What a repository of the hub holds: sizes, digests and where the bytes are. It blocks: call it from threads.

huggingface_hub answers these questions, and does not download. Its downloads go through a cache, which would take the
disk twice and a copy in the end; it gave up resuming because its locks lie on network file systems; and its fast path
is a native library that no limit, cancellation or digest of ours can look into. So the bytes come by plain HTTP, with
ranges, into staging.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from app.errors import SourceMismatch, SourceNotFound, SourceUnavailable
from app.pulls.request import PullRequest, Source, matching, model_name
from app.pulls.sources.url import refusal

SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")
TIMEOUT_SECONDS = 10.0
NOBODYS = False
"""For huggingface_hub, to which no token at all would mean the one that somebody left on this machine."""


def resolve(request: PullRequest, endpoint: str | None, token: str | None) -> list[Source]:
    """Every file that a pull of a repository means, of one commit.

    Raises SourceNotFound, SourceRefused, SourceUnavailable.
    """
    if request.file:
        with _explaining(f"{request.file!r} of {request.repository}"):
            return [_one(request.repository or "", request.file, request.revision, endpoint, token)]
    with _explaining(f"repository {request.repository}"):
        return _several(request, endpoint, token)


def _one(repository: str, file: str, revision: str, endpoint: str | None, token: str | None) -> Source:
    """One `HEAD`, whose answer names the commit, the size and, for a large file, the SHA-256."""
    url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
    found = get_hf_file_metadata(url, token=token or NOBODYS, endpoint=endpoint, timeout=TIMEOUT_SECONDS)
    url = hf_hub_url(repository, file, revision=found.commit_hash or revision, endpoint=endpoint)
    return Source(model_name(repository, file), url, found.size, _sha256(found.etag), is_hub=True)


def _several(request: PullRequest, endpoint: str | None, token: str | None) -> list[Source]:
    repository, pattern = request.repository or "", request.files or ""
    api = HfApi(endpoint=endpoint, token=token or NOBODYS)
    found = api.model_info(repository, revision=request.revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
    files = {sibling.rfilename: sibling for sibling in found.siblings or ()}
    revision = found.sha or request.revision
    sources = [
        Source(
            model_name(repository, file),
            hf_hub_url(repository, file, revision=revision, endpoint=endpoint),
            files[file].size,
            _sha256(files[file].lfs.sha256) if files[file].lfs else None,  # type: ignore[union-attr]  # asked in the same line
            is_hub=True,
        )
        for file in matching(files, pattern)
    ]
    if not sources:
        raise SourceNotFound(f"file like {pattern!r} in {repository}", f"it holds {', '.join(sorted(files)[:20])}")
    return sources


def _sha256(text: str | None) -> str | None:
    """A small file's ETag is another digest."""
    return text.lower() if text and SHA256_HEX.fullmatch(text) else None


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    try:
        yield
    except HfHubHTTPError as exc:
        raise refusal(what, exc.response.status_code, exc.response.headers) from exc
    except HFValidationError as exc:
        raise SourceNotFound(what, str(exc)) from exc
    except (httpx.RequestError, OfflineModeIsEnabled) as exc:
        raise SourceUnavailable(what, str(exc) or type(exc).__name__) from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        # What huggingface_hub lets through when it cannot read an answer, such as a page of something else.
        raise SourceMismatch(what, "the hub's answer is not one that a hub gives; check OCR_HUB_ENDPOINT") from exc
