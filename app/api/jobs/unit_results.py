"""The results of a job of units: pages of them, while the job runs and after it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from app.api.http.problem_types import Problem
from app.api.http.problems import ProblemContext, problem_of
from app.errors import UnitDamaged
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.records import ResultPlace
from app.store import explaining_refusals
from app.store.records.forms import RecordDamaged

Item = TypeVar("Item", bound=BaseModel)
MAX_PAGE_BYTES = 32 << 20
"""A page of results ends after this many bytes, with one result at least."""


class ResultsQuery(BaseModel):
    """The parameters of a page of results."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: int = Field(default=1000, ge=1, le=1000)
    """The most results of the page."""
    cursor: Annotated[int, Field(ge=0, le=1 << 40)] | SkipJsonSchema[None] = None
    """The `next_cursor` of the previous page. The results are in the order of their completion across pages."""


class ResultsStreamQuery(BaseModel):
    """The parameters of a stream of results."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    cursor: int = Field(default=0, ge=0, le=1 << 40)
    """How many results the caller has; the stream begins after them."""


@dataclass(frozen=True, slots=True)
class ResultPage(Generic[Item]):
    """Some results of a job, in the order in which they were completed."""

    items: list[Item]
    next_cursor: int
    """How many results come before the next page."""
    has_more: bool
    """True if there are more results already."""


@dataclass(frozen=True, slots=True)
class UnitResults(Generic[Item]):
    """How the results of one kind of job are shown."""

    item: type[Item]
    """The schema of the result of one unit."""
    page: type[BaseModel]
    """The schema of a page."""
    to_page: Callable[[Job, list[Item], dict[str, Any]], BaseModel]
    """Makes a page of the job, its items and the members that the pages of every kind have."""
    failed: Callable[[int, str | None, Problem], Item]
    """Makes the result of a unit that has a problem, from the unit's number and name."""

    def read(self, jobs: Jobs, job: Job, *, after: int, limit: int) -> ResultPage[Item]:
        """Read a page of results. Blocks. In place of a result that cannot be read it has the problem `unit-damaged`.

        Raises JobNotFound and StoreUnavailable.
        """
        places = jobs.units.results(job, after=after, limit=limit + 1)
        items, size_bytes, count = list[Item](), 0, 0
        for place in places[:limit]:
            if items and size_bytes + place.length > MAX_PAGE_BYTES:
                break
            count += 1
            size_bytes += place.length
            items.append(self._item(jobs, job, place))
        return ResultPage(items, after + count, len(places) > count)

    def _item(self, jobs: Jobs, job: Job, place: ResultPlace) -> Item:
        item: Item | None = None
        # A result that cannot be read for a moment must not be passed over.
        with explaining_refusals(), suppress(RecordDamaged, ValidationError):
            item = self.item.model_validate_json(jobs.units.read_result(job, place))
        is_readable = item is not None and getattr(item, "index", None) == place.unit
        jobs.units.note_read(job, place.unit, is_readable=is_readable)
        if item is not None and is_readable:
            return item
        jobs.note_damaged(job, "results of its items are missing or damaged")
        name, path = jobs.units.origin(job, place.unit)
        context = ProblemContext(path, job.created_by.request_id or "")
        return self.failed(
            place.unit, name, problem_of(UnitDamaged("its result is missing or cannot be read"), context)
        )

    def answer(self, jobs: Jobs, job: Job, query: ResultsQuery) -> BaseModel:
        """Return a page as the API shows it. Blocks. Raises what `read` raises."""
        page = self.read(jobs, job, after=query.cursor or 0, limit=query.limit)
        items = sorted(page.items, key=lambda item: getattr(item, "index", 0))
        common = {
            "failed_count": jobs.units.counts(job).failed,
            "next_cursor": page.next_cursor if page.has_more or not job.is_finished else None,
        }
        return self.to_page(job, items, common)
