"""A pull continues what an earlier pull of the same file left, and never mixes two versions."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.errors import StoreFull
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.pulls.conditions import publication_conditions
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.pull_partials import shared_partial_id
from app.pulls.request import IfExists, PullRequest
from app.pulls.sources.base import SourceFile
from app.store.actor import Actor
from app.store.incoming.partials import PartialRecord
from app.store.store import Store
from tests.pulls.conftest import MakePulls
from tests.support.hub import Fault, Hub
from tests.support.own_pulls import LIMITS

ME = Actor("me")
CUT = 1 << 18
CONTENT = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(1 << 14))
NEWER = CONTENT[::-1]
ASKED = [Fault(), Fault()]
"""The two requests for a URL's size: by the request for a pull, and by the pull."""
OUTAGE = [Fault(status=503)] * LIMITS.retries
"""An outage that lasts beyond the retries."""


def failed_at_cut(make_pulls: MakePulls, hub: Hub, request: PullRequest, *first: Fault) -> Job:
    """Run a pull that breaks off at CUT and fails, because the source stays away."""
    hub.faults.extend([*first, Fault(cut_after=CUT), *OUTAGE])
    job = make_pulls().ask_for(request, ME)
    assert job.failure
    assert job.failure.error == "SourceUnavailable"
    return job


def staged(store: Store) -> list[Path]:
    """Return the partial files in staging, without their records."""
    return sorted(store.volume.staging_dir.glob("*.part"))


def ranges(hub: Hub, server: str = "cdn") -> list[str | None]:
    """Return the Range field of each request for bytes."""
    return [seen.headers.get("Range") for seen in hub.asked(server)]


def of_hub(hub: Hub, content: bytes = CONTENT) -> PullRequest:
    """Add the file to the hub and return the request for it."""
    hub.add("org/repo", "m.bin", content)
    return PullRequest(repository="org/repo", file="m.bin")


def test_a_new_request_continues_a_failed_pull(make_pulls: MakePulls, own_hub: Hub, store: Store, jobs: Jobs) -> None:
    """After an outage beyond the retries, the next equal request downloads only the missing bytes."""
    request = of_hub(own_hub)
    first = failed_at_cut(make_pulls, own_hub, request)
    store.sweep(jobs.needs_no_partials)
    assert [path.stat().st_size for path in staged(store)] == [CUT]
    own_hub.seen.clear()

    job = make_pulls().ask_for(request, ME)

    assert job.id != first.id
    assert job.state == "succeeded", job.failure
    assert (store.root / "org_repo/m.bin").read_bytes() == CONTENT
    assert ranges(own_hub) == [f"bytes={CUT}-"]
    assert own_hub.asked("cdn")[0].headers["If-Range"]
    assert list(store.volume.staging_dir.iterdir()) == []


def test_a_pull_of_a_url_is_continued_with_its_etag(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """A URL without a digest is continued by If-Range; if the file has changed, the new version is whole."""
    for content in (CONTENT, NEWER):
        own_hub.faults.clear()
        request = PullRequest(url=own_hub.put("/a.bin", CONTENT), if_exists=IfExists.REPLACE)
        failed_at_cut(make_pulls, own_hub, request, *ASKED)
        own_hub.put("/a.bin", content)
        own_hub.seen.clear()

        job = make_pulls().ask_for(request, ME)

        assert job.state == "succeeded", job.failure
        assert (store.root / "a.bin").read_bytes() == content
        assert ranges(own_hub) == [None, None, f"bytes={CUT}-"]


def test_another_signature_is_another_file(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """The query of a URL can name the file, so that a URL with another query is downloaded from its first byte."""
    url = own_hub.put("/a.bin", CONTENT)
    failed_at_cut(make_pulls, own_hub, PullRequest(url=f"{url}?id=1"), *ASKED)
    own_hub.seen.clear()

    assert make_pulls().ask_for(PullRequest(url=f"{url}?id=2"), ME).state == "succeeded"
    assert ranges(own_hub) == [None, None, None]
    assert (store.root / "a.bin").read_bytes() == CONTENT


def test_with_a_digest_any_place_continues_the_file(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """A pull with the same digest continues the file from another URL, such as one with a new signature."""
    url, sha256 = own_hub.put("/a.bin", CONTENT), hashlib.sha256(CONTENT).hexdigest()
    failed_at_cut(make_pulls, own_hub, PullRequest(url=f"{url}?id=1", sha256=sha256), *ASKED)
    own_hub.seen.clear()

    assert make_pulls().ask_for(PullRequest(url=f"{url}?id=2", sha256=sha256), ME).state == "succeeded"
    assert ranges(own_hub) == [None, None, f"bytes={CUT}-"]
    assert (store.root / "a.bin").read_bytes() == CONTENT


def test_wrong_bytes_of_an_earlier_pull_are_downloaded_again(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """If the bytes of an earlier pull and the rest do not have the digest, the file is downloaded once more, whole."""
    request = of_hub(own_hub)
    failed_at_cut(make_pulls, own_hub, request)
    with staged(store)[0].open("r+b") as partial:
        partial.write(b"?")

    job = make_pulls().ask_for(request, ME)

    assert job.state == "succeeded", job.failure
    assert (store.root / "org_repo/m.bin").read_bytes() == CONTENT


def test_a_source_that_ignores_if_range_mixes_nothing(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """A source that sends the rest of another version in spite of If-Range is asked for the whole new version."""
    request = PullRequest(url=own_hub.put("/a.bin", CONTENT))
    own_hub.faults.extend([*ASKED, Fault(cut_after=CUT), Fault(content=NEWER, ignore_if_range=True)])

    job = make_pulls().ask_for(request, ME)

    assert job.state == "succeeded", job.failure
    assert (store.root / "a.bin").read_bytes() == NEWER


def test_etags_that_differ_from_server_to_server_do_not_matter_with_a_digest(
    make_pulls: MakePulls, own_hub: Hub, store: Store
) -> None:
    """A download with a digest continues although the ETag of each answer is another one; the digest proves it."""
    request = PullRequest(url=own_hub.put("/a.bin", CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
    own_hub.faults.extend(
        [*ASKED, *[Fault(cut_after=CUT // 2, headers={"ETag": f'"server-{number}"'}) for number in range(5)]]
    )

    job = make_pulls().ask_for(request, ME)

    assert job.state == "succeeded", job.failure
    assert (store.root / "a.bin").read_bytes() == CONTENT
    assert None not in ranges(own_hub)[3:]


def test_the_partial_file_goes_when_it_is_of_no_use(
    make_pulls: MakePulls, own_hub: Hub, store: Store, jobs: Jobs
) -> None:
    """The file of a failed pull goes when it expires, when the pull is cancelled, or when its digest is wrong."""
    request = of_hub(own_hub)
    short = replace(LIMITS, partial_retention=timedelta(0))
    failed_at_cut(lambda: make_pulls(limits=short), own_hub, request)
    store.sweep(jobs.needs_no_partials)
    expired = staged(store)
    job = failed_at_cut(make_pulls, own_hub, request)
    PullJobs(store, jobs).cancel(job.id)
    cancelled = staged(store)
    failed_at_cut(make_pulls, own_hub, request)
    wrong = make_pulls().ask_for(replace(request, sha256="0" * 64), ME)

    assert (expired, cancelled, staged(store)) == ([], [], [])
    assert wrong.failure
    assert wrong.failure.error == "DigestMismatch"
    assert "pull it again" in wrong.failure.detail


def test_two_pulls_of_one_file_do_not_share_a_partial_file(
    make_pulls: MakePulls, own_hub: Hub, store: Store, jobs: Jobs
) -> None:
    """While another pull writes a model's shared partial file, another pull of it has a file of its own."""
    request = of_hub(own_hub)
    failed_at_cut(make_pulls, own_hub, request)
    shared, _ = store.incoming.resume(staged(store)[0].stem)

    job = make_pulls().ask_for(PullRequest(repository="org/repo", files="*.bin"), ME)

    assert job.state == "succeeded", job.failure
    assert (store.root / "org_repo/m.bin").read_bytes() == CONTENT
    assert shared.size_bytes == CUT
    shared.release()
    assert len(staged(store)) == 1
    assert jobs.unfinished(PULL) == []


def test_what_is_on_the_disk_needs_no_more_space(store: Store) -> None:
    """A pull that continues a partial file needs space for the missing bytes only."""
    status = os.statvfs(store.root)
    size_bytes = status.f_bavail * status.f_frsize + (1 << 30)
    file = SourceFile("a.bin", "http://a.example/a.bin", size_bytes)
    with pytest.raises(StoreFull):
        publication_conditions(store, file, IfExists.FAIL)
    record = PartialRecord(
        id=shared_partial_id("a.bin"),
        name="a.bin",
        kind="pull",
        actor="me",
        expected_bytes=size_bytes,
        created_at=datetime.now(UTC),
        retention=timedelta(hours=1),
    )
    store.incoming.begin(keep=record).release()
    os.truncate(staged(store)[0], size_bytes - 100)  # a sparse file, which takes no space

    assert publication_conditions(store, file, IfExists.FAIL) is not None


def test_several_files_must_fit_together(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """A pull of files that fit one by one, and not together, is refused before a byte is downloaded."""
    status = os.statvfs(store.root)
    for name in ("a.bin", "b.bin"):
        own_hub.add("org/repo", name, CONTENT)
        own_hub.sizes["org/repo", name] = status.f_bavail * status.f_frsize * 2 // 3

    with pytest.raises(StoreFull):
        make_pulls().ask_for(PullRequest(repository="org/repo", files="*.bin"), ME)
    assert own_hub.asked("cdn") == []
