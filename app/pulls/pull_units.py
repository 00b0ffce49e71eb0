"""The work on a pull, a job of one unit: runs the pull, reports its progress, and frees its place when idle."""

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

from app.errors import ServiceError, SourceUnavailable, StoreError, StoreUnavailable
from app.events import EventName, OnEvent
from app.jobs.progress import Meter, Progress
from app.jobs.records import JobState
from app.jobs.units.lanes import LaneName, Place
from app.jobs.units.records import failure_of
from app.jobs.units.unit_claims import Claim, Outcome, UnitClaims
from app.jobs.units.unit_work import Ended, NotNow, UnitRun, UnitWork
from app.pulls.pull import OnPublished, PullLimits, PullRun
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source
from app.store import Store
from app.store.records.forms import RecordDamaged
from app.store.volume.refusals import REPLACED_ERRORS, refusal_of


class PullUnits(UnitWork):
    """Runs pulls into one model folder."""

    is_continued = True

    def __init__(
        self,
        store: Store,
        claims: UnitClaims,
        sources: Sequence[Source],
        limits: PullLimits,
        *,
        on_published: OnPublished,
        on_event: OnEvent,
    ) -> None:
        self.store = store
        self.claims = claims
        self.sources = sources
        self.limits = limits
        self.on_published = on_published
        self.on_event = on_event

    def understands(self, parameters: dict[str, Any]) -> bool:
        """Return False if the request is that of a newer version."""
        try:
            PullRequest.from_record(parameters)
        except (TypeError, ValueError, KeyError):
            return False
        return True

    def lane_of(self, *, is_downloaded: bool) -> LaneName:  # noqa: ARG002 - each pull is downloaded
        """Return the lane of pulls."""
        return LaneName.PULLS

    def begin(self, claim: Claim, place: Place) -> "PullUnitRun":
        """Return a new run of a pull. It gives its place to another pull while it waits for its source."""
        return PullUnitRun(self, claim, place)

    def failed(self, claim: Claim, error: Exception) -> Outcome:  # noqa: ARG002 - as `UnitWork` has it
        """Return the outcome of a pull that failed with an error."""
        failure = failure_of(error)
        return Outcome(json.dumps({"error": failure.error, "detail": failure.detail}), failure)


class PullUnitRun(UnitRun):
    """One run of a pull in this process."""

    def __init__(self, work: PullUnits, claim: Claim, place: Place) -> None:
        self._work = work
        self._claim = claim
        self._place = place
        self._request = PullRequest.from_record(claim.job.request)
        self._about = {"job_id": claim.job.id, "target": self._request.target}
        self._meter = Meter("bytes")
        self._began = time.monotonic()
        self._pull = PullRun(
            claim.job,
            work.store,
            work.sources,
            work.limits,
            work.on_published,
            waiting=place.paused,
            on_retry=self._on_retry,
            unended=lambda: work.claims.unended(claim),
            is_cancelled=lambda: self.is_cancelled,
        )

    async def run(self) -> Outcome:
        """Run the pull. While the folder is away, the pull is left to the next attempt."""
        self._work.on_event(EventName.PULL_STARTED, self._about)
        watching = asyncio.create_task(give_place_back_when_idle(self._pull, self._place, self._work.limits))
        try:
            return Outcome(json.dumps(await self._pull.run()))
        except (StoreUnavailable, RecordDamaged) as exc:
            # Without the folder the outcome could not be written either.
            raise NotNow(str(exc)) from exc
        except ServiceError as exc:
            return self._work.failed(self._claim, exc)
        except OSError as exc:
            if exc.errno in REPLACED_ERRORS:  # a removed part of the store is made again
                raise NotNow(str(exc)) from exc
            return self._work.failed(self._claim, refusal_of(exc))
        finally:
            watching.cancel()

    def progress(self) -> tuple[str, Progress]:
        """Return the step of the pull, and how many bytes have arrived."""
        return self._pull.phase, self._meter.at(*self._pull.count())

    def on_ended(self, ended: Ended) -> None:
        """Remove the partial files that no pull can continue, and report the end."""
        if ended.unrecorded:
            self._work.on_event(EventName.PULL_UNRECORDED, self._about | {"error": str(ended.unrecorded)})
            return
        is_failed = ended.state is JobState.FAILED
        with contextlib.suppress(StoreError, OSError):  # then a sweep removes them
            self._pull.clean_up(is_failed=is_failed)
        self._work.on_event(
            EventName.PULL_FINISHED,
            self._about
            | {
                "outcome": str(ended.state or JobState.CANCELLED),
                "error": ended.failure.detail if ended.failure and is_failed else None,
                "bytes": self._pull.done_bytes,
                "seconds": round(time.monotonic() - self._began, 3),
            },
        )

    def _on_retry(self, exc: SourceUnavailable, pause_seconds: float) -> None:
        pause = {"pause_seconds": round(pause_seconds, 1)}
        self._work.on_event(EventName.PULL_RETRIED, self._about | {"error": str(exc)} | pause)


async def give_place_back_when_idle(run: PullRun, place: Place, limits: PullLimits) -> None:
    """Give a pull's place back while its source sends less than the least rate, so that other pulls can use it."""
    while True:
        before = run.done_bytes
        await asyncio.sleep(limits.idle_seconds)
        is_waiting = run.phase in {"resolving", "downloading"}
        if not is_waiting or run.done_bytes - before > limits.min_rate * limits.idle_seconds:
            place.ask()
        elif place.is_held:
            place.pause()
