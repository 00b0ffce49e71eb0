"""The scenarios about jobs of files, on which both services work. Each function is a row of the table.

The services need the engine `tests.support.engines:Reads`. Scenarios use only HTTP, as those of `scenarios` do.
"""

import re
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.waiting import Deadline, eventually
from tests.volumes.asking import Pair, Result, ask, row, succeed

END_SECONDS = 120.0
"""How long the jobs may take. After a kill this includes the time until a server of a file system notices it."""
CALLS = re.compile(r'^ocr_engine_call_seconds_count\{.*work="recognise".*\} ([\d.e+]+)$', re.MULTILINE)


@row("files of jobs with one result / files (calls of the engines)")
def units_have_one_result(pair: Pair, result: Result, *, files: int = 40) -> None:
    """A job is created at each service. Both work on both jobs, and each file has one result, which both show.

    A file may be read twice, because a client may know an older state of a job's log: the calls are only counted. On a
    busy machine one service may do all files before the other one looks: then there are two more jobs, until both work.
    """
    done, calls, asked, deadline = 0, [0.0, 0.0], 0, Deadline(END_SECONDS)
    while not all(calls) and not deadline.is_over:
        jobs = {_create(client, files): client for client in pair.both}
        asked += files * len(jobs)
        for job, creator in jobs.items():
            done += _done_by_both(pair, result, job, creator, files)
        calls = [sum(map(float, CALLS.findall(client.get("/metrics").text))) for client in pair.both]
    result.counts = {"done": done, "calls": sum(calls)}
    result.text = f"{done}/{asked} ({sum(calls):.0f})"
    result.check(all(calls), f"one service did nothing: the engines were called {calls} times")


def _done_by_both(pair: Pair, result: Result, job: str, creator: httpx.Client, files: int) -> int:
    """Wait for the end of a job, check that both services show one result for each file, and return how many."""
    ended = _ended(pair.b if creator is pair.a else pair.a, job)
    result.check(ended["state"] == "succeeded", f"the job ended as {ended}")
    for client in pair.both:
        found = _texts(client, job)
        result.check(found == _expected(files), f"the results are {found}")
    return len(found)


@row("time until another service ends a job after `kill -9`")
def job_outlives_its_service(pair: Pair, result: Result, kill_a: Callable[[], None], *, files: int = 12) -> None:
    """A is killed while it works on its job: B does what is left, and each file has one result."""
    job = _create(pair.a, files, seconds=0.2)
    eventually(lambda: _job(pair.a, job)["progress"]["done"], within=END_SECONDS)
    kill_a()
    began = time.monotonic()
    ended = _ended(pair.b, job)
    result.counts = {"seconds": time.monotonic() - began}
    result.text = f"{result.counts['seconds']:.1f} s"
    result.check(ended["state"] == "succeeded", f"the job ended as {ended}")
    found = _texts(pair.b, job)
    result.check(found == _expected(files, seconds=0.2), f"the results are {found}")


def _expected(files: int, *, seconds: float = 0.01) -> list[str]:
    """Return the text of each file: for how long the engine reads it, in seconds."""
    return [f"{seconds + number / 10_000:.4f}" for number in range(files)]


def _create(client: httpx.Client, files: int, *, seconds: float = 0.01) -> str:
    """Create a job at a service, and return its path. Raises RefusedAsUnsafe."""
    texts = _expected(files, seconds=seconds)
    parts = [("file", (f"{text}.png", f"nap {text}".encode(), "image/png")) for text in texts]
    return str(succeed(ask(client, "POST", "/ocr/jobs", files=parts)).headers["location"])


def _read(client: httpx.Client, path: str, **params: int) -> dict[str, Any]:
    """GET a path, again while the answer is 503: GlusterFS may not find a file for a moment after its renaming."""

    def answer() -> httpx.Response | None:
        found = client.get(path, params=params)
        return None if found.status_code == 503 else found

    return dict(succeed(eventually(answer)).json())


def _job(client: httpx.Client, path: str) -> dict[str, Any]:
    return _read(client, path)


def _ended(client: httpx.Client, path: str) -> dict[str, Any]:
    """Wait until a service shows the end of a job, and return the job."""
    return eventually(lambda: now if (now := _job(client, path))["finished_at"] else None, within=END_SECONDS)


def _texts(client: httpx.Client, path: str) -> list[str]:
    """Read the results until there are no more, and return the text of each. A file with two results is there twice.

    A service may see the job's end a moment later than the other one.
    """
    found, cursor = list[dict[str, Any]](), 0
    deadline = Deadline(END_SECONDS)
    while cursor is not None and not deadline.is_over:
        page = _read(client, f"{path}/results", cursor=cursor)
        found += page["results"]
        cursor = page["next_cursor"]
        time.sleep(0.05)
    found.sort(key=lambda each: each["index"])
    return [str(each["error"] or each["recognition"]["text"]) for each in found]
