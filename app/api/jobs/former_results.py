"""The results of jobs of former versions, which wrote them to one file at the end of the job."""

import json

from pydantic import BaseModel

from app import errors
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState
from app.jobs.units.records import MAX_RESULT_BYTES
from app.store.records.forms import RecordDamaged
from app.store.records.reader import read_regular


def former_results(jobs: Jobs, job: Job, page: type[BaseModel]) -> str:
    """Return the results as a page of the present version, in JSON. Blocks.

    Raises JobWithoutResults if the job has not succeeded, and JobNotFound if the file is missing or damaged.
    """
    if job.state is not JobState.SUCCEEDED:
        raise errors.JobWithoutResults(job.id, job.state)
    try:
        found = json.loads(read_regular(jobs.former.result_file(job.id), MAX_RESULT_BYTES))
        results = [result | {"index": number} for number, result in enumerate(found["results"])]
        return page.model_validate(found | {"results": results, "next_cursor": None}).model_dump_json()
    except (FileNotFoundError, RecordDamaged, ValueError, TypeError, KeyError, RecursionError):
        raise errors.JobNotFound(job.id) from None
