"""The results of a job of units: pages of them, while the job runs and after it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from app.jobs.folder import Jobs
from app.jobs.records import Job
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
    failed_count: int
    """How many units of the job have failed so far."""


@dataclass(frozen=True, slots=True)
class UnitResults(Generic[Item]):
    """How the results of one kind of job are shown."""

    item: type[Item]
    """The schema of the result of one unit."""
    page: type[BaseModel]
    """The schema of a page."""
    to_page: Callable[[Job, list[Item], dict[str, Any]], BaseModel]
    """Makes a page of the job, its items and the members that the pages of every kind have."""

    def read(self, jobs: Jobs, job: Job, *, after: int, limit: int) -> ResultPage[Item]:
        """Read a page of results. Blocks. A result that cannot be read is left out, and reported as damaged.

        Raises JobNotFound and StoreUnavailable.
        """
        places, failed_count = jobs.units.results(job, after=after, limit=limit + 1)
        items, size_bytes, count = list[Item](), 0, 0
        for place in places[:limit]:
            if items and size_bytes + place.length > MAX_PAGE_BYTES:
                break
            count += 1
            size_bytes += place.length
            with explaining_refusals():  # a result that cannot be read for a moment must not be passed over
                try:
                    items.append(self.item.model_validate_json(jobs.units.read_result(job.id, place)))
                except (RecordDamaged, ValidationError):
                    jobs.note_damaged(job, f"the result of its item {place.unit} cannot be read")
        return ResultPage(items, after + count, len(places) > count, failed_count)

    def answer(self, jobs: Jobs, job: Job, query: ResultsQuery) -> BaseModel:
        """Return a page as the API shows it. Blocks. Raises what `read` raises."""
        page = self.read(jobs, job, after=query.cursor or 0, limit=query.limit)
        items = sorted(page.items, key=lambda item: getattr(item, "index", 0))
        common = {
            "failed_count": page.failed_count,
            "next_cursor": page.next_cursor if page.has_more or not job.is_finished else None,
        }
        return self.to_page(job, items, common)
