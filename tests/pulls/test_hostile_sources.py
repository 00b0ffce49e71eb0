"""Sources that send for ever, too slowly, too much, or that break off again and again: each is bounded."""

from dataclasses import replace

import pytest

from app.errors import SourceNotAllowed
from app.jobs.records import Job
from app.pulls.request import PullRequest
from app.store.actor import Actor
from app.store.store import Store
from tests.pulls.conftest import MakePulls
from tests.support.defects.endless import endless_server
from tests.support.hub import Fault, Hub
from tests.support.own_pulls import LIMITS

ME = Actor("me")
CONTENT = bytes(range(256)) * 4096
ASKED = [Fault(), Fault()]
"""The two requests for a URL's size: by the request for a pull, and by the pull."""
STEP = 1 << 16


def error_of(job: Job) -> tuple[str, str]:
    """Return the name and the message of a job's error."""
    assert job.failure
    return job.failure.error, job.failure.detail


def test_an_endless_file_ends_at_the_limit(make_pulls: MakePulls, store: Store) -> None:
    """A source that states no size and never ends is cut at OCR_MAX_PULL_BYTES, and nothing of it stays."""
    with endless_server() as server:
        server.headers = {"ETag": '"1"'}
        pulls = make_pulls(server.url, limits=replace(LIMITS, max_bytes=1 << 20))

        job = pulls.ask_for(PullRequest(url=f"{server.url}/a.bin"), ME)
        sent_bytes = server.sent_bytes

    assert error_of(job)[0] == "SourceNotAllowed"
    assert "OCR_MAX_PULL_BYTES" in error_of(job)[1]
    assert sent_bytes < 64 << 20  # the buffers of two connections, and no more
    assert list(store.volume.staging_dir.iterdir()) == []


def test_a_file_beyond_the_limit_is_refused_before_its_download(make_pulls: MakePulls, own_hub: Hub) -> None:
    """A file whose stated size is beyond OCR_MAX_PULL_BYTES is refused without a job."""
    pulls = make_pulls(limits=replace(LIMITS, max_bytes=len(CONTENT) - 1))

    with pytest.raises(SourceNotAllowed, match="OCR_MAX_PULL_BYTES"):
        pulls.ask_for(PullRequest(url=own_hub.put("/a.bin", CONTENT)), ME)


def test_a_source_that_drips_is_given_up(make_pulls: MakePulls, own_hub: Hub) -> None:
    """A source that sends less than OCR_PULL_MIN_RATE is tried again a bounded number of times, though bytes come."""
    url = own_hub.put("/a.bin", CONTENT)
    own_hub.faults.extend([*ASKED, *[Fault(pause_seconds=0.05)] * 20])
    pulls = make_pulls(limits=replace(LIMITS, min_rate=1 << 40, rate_seconds=0.1))

    job = pulls.ask_for(PullRequest(url=url), ME)

    assert error_of(job)[0] == "SourceUnavailable"
    assert "OCR_PULL_MIN_RATE" in error_of(job)[1]
    assert len(own_hub.asked("cdn")) == len(ASKED) + 1 + LIMITS.retries


def test_a_byte_in_each_attempt_is_no_progress(make_pulls: MakePulls, own_hub: Hub) -> None:
    """A source that breaks off after one more byte each time does not reset the count of failures."""
    url = own_hub.put("/a.bin", CONTENT)
    own_hub.faults.extend([*ASKED, *[Fault(cut_after=1)] * 20])
    pulls = make_pulls(limits=replace(LIMITS, min_rate=1 << 20))

    job = pulls.ask_for(PullRequest(url=url), ME)

    assert error_of(job)[0] == "SourceUnavailable"
    assert len(own_hub.asked("cdn")) == len(ASKED) + 1 + LIMITS.retries


@pytest.mark.parametrize("cuts", [[9, 3, 7, 1, 8, 2], [1, 2, 3, 4, 5, 6, 7, 8, 9]], ids=["random", "ever later"])
def test_a_source_without_ranges_that_breaks_off_is_given_up(
    make_pulls: MakePulls, own_hub: Hub, store: Store, cuts: list[int]
) -> None:
    """A source that cannot continue a download, and breaks off at any place, is asked a bounded number of times."""
    url = own_hub.put("/a.bin", CONTENT)
    own_hub.faults.extend([*ASKED, *[Fault(cut_after=cut * STEP, ignore_range=True) for cut in cuts * 4]])

    job = make_pulls().ask_for(PullRequest(url=url), ME)

    assert error_of(job)[0] in {"SourceUnavailable", "SourceMismatch"}
    assert len(own_hub.asked("cdn")) <= 2 + 2 * LIMITS.retries
    assert sum(path.stat().st_size for path in store.volume.staging_dir.iterdir()) <= len(CONTENT)


def test_a_source_that_recovers_is_pulled_from(make_pulls: MakePulls, own_hub: Hub, store: Store) -> None:
    """A source without ranges that breaks off twice, and then sends all, is pulled from."""
    url = own_hub.put("/a.bin", CONTENT)
    own_hub.faults.extend([*ASKED, *[Fault(cut_after=cut * STEP, ignore_range=True) for cut in (5, 2)]])
    own_hub.faults.append(Fault(ignore_range=True))

    assert make_pulls().ask_for(PullRequest(url=url), ME).state == "succeeded"
    assert (store.root / "a.bin").read_bytes() == CONTENT
