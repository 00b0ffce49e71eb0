"""What callers were told of their jobs, and whether the jobs are so at the end."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.waiting import eventually
from tests.support.webhook_receiver import WebhookReceiver

FINAL = {"succeeded", "failed", "cancelled"}
KINDS = ("/ai/jobs", "/ocr/jobs", "/pulls")
ENDED_BY_KILLS = {"unit-abandoned"}
"""The problems that a unit may have because three services ended while they worked on it."""


@dataclass(frozen=True)
class Made:
    """A job that a service has accepted."""

    fails: Sequence[bool]
    """For each unit, whether it has a problem at the end. A pull has no units."""
    webhook: str | None
    """The path at the receiver."""
    model: str | None = None
    """The model that a pull makes."""
    content: bytes = b""
    """The model's bytes."""


@dataclass
class Ledger:
    """The jobs that callers were told of."""

    made: dict[str, Made] = field(default_factory=dict)
    """By path."""
    ended: dict[str, str] = field(default_factory=dict)
    """By a job's path, its final state, as a caller was told it."""
    statuses: Counter[int] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    """How many units have a result or a problem, and how many have neither because their job was cancelled."""
    problems: Counter[str] = field(default_factory=Counter)
    """The problems of units, by code."""
    webhooks: Counter[str] = field(default_factory=Counter)
    """How many webhooks arrived, and in how many requests."""
    wrong: list[str] = field(default_factory=list)
    """What must never happen."""
    adding: threading.RLock = field(default_factory=threading.RLock)

    def note(self, answer: httpx.Response) -> httpx.Response:
        """Count an answer."""
        with self.adding:
            self.statuses[answer.status_code] += 1
            if answer.status_code in {404, 500}:
                self.wrong.append(f"{answer.request.method} {answer.request.url.path}: {answer.text}")
        return answer

    def add(self, path: str, made: Made) -> None:
        """Note that a job was accepted."""
        with self.adding:
            if path in self.made:
                self.wrong.append(f"{path} is the job of two requests")
            self.made[path] = made

    def unfinished(self) -> list[str]:
        """Return the jobs of whose end no caller was told."""
        with self.adding:
            return [path for path in self.made if path not in self.ended]

    def newest(self, count: int) -> list[str]:
        """Return the jobs that were accepted last."""
        with self.adding:
            return list(self.made)[-count:]

    def note_end(self, path: str, state: str) -> None:
        """Note the end of a job, which must be the same for ever."""
        with self.adding:
            if self.ended.setdefault(path, state) != state:
                self.wrong.append(f"{path} was {self.ended[path]} and is {state}")

    def check_each_once(self, path: str, results: list[dict[str, Any]]) -> set[int]:
        """Check that each result is that of its unit, and that no unit has two. Return the units that have one."""
        numbers, fails = [result["index"] for result in results], self.made[path].fails
        with self.adding:
            if len(set(numbers)) != len(numbers):
                self.wrong.append(f"{path} has two results of a unit: {numbers}")
            for result in results:
                code = _code_of(result)
                if bool(code) != fails[result["index"]] and code not in ENDED_BY_KILLS:
                    self.wrong.append(f"{path} has a result of another unit: {result}")
        return set(numbers)

    def check_at_end(self, client: httpx.Client, models: Path, receiver: WebhookReceiver) -> None:
        """Wait for the end of all jobs and webhooks, and check their outcomes and that there are no other jobs."""
        for path, made in self.made.items():
            state = _state_at_end(client, path)
            self.note_end(path, state)
            if made.model:
                self._check_model(path, models / made.model)
            else:
                results = client.get(f"{path}/results").raise_for_status().json()["results"]
                self.problems.update(code for each in results if (code := _code_of(each)))
                found = self.check_each_once(path, results)
                self.results["with one outcome"] += len(found)
                self.results["not done when cancelled"] += len(made.fails) - len(found)
                if state != "cancelled" and len(found) != len(made.fails):
                    self.wrong.append(f"{path} is {state} and has the results {found} of {len(made.fails)}")
            if made.webhook:
                self._check_webhook(client, path, made.webhook, receiver)
        others = {path for kind in KINDS for path in _all_jobs(client, kind)} - set(self.made)
        if others:
            self.wrong.append(f"there are jobs of which no caller was told: {others}")

    def _check_model(self, path: str, model: Path) -> None:
        state, whole = self.ended[path], self.made[path].content
        is_whole = model.exists() and model.read_bytes() == whole
        if state == "failed" or (state == "succeeded" and not is_whole) or (model.exists() and not is_whole):
            self.wrong.append(f"{path} is {state}, and its model is {'whole' if is_whole else 'not whole'}")

    def _check_webhook(self, client: httpx.Client, path: str, name: str, receiver: WebhookReceiver) -> None:
        """Wait until the job's webhook was delivered. It arrives at least once, always with the job's id and end."""
        eventually(lambda: _job(client, path)["webhook"]["state"] == "delivered", within=120)
        sent = receiver.to(name)
        events = {(each.id, json.loads(each.body)["type"]) for each in sent}
        if events != {(f"msg_{path.rpartition('/')[2]}", f"ocr.job.{self.ended[path]}")}:
            self.wrong.append(f"{path} is {self.ended[path]}, and its webhooks were {events}")
        self.webhooks["webhooks"] += 1
        self.webhooks["requests"] += len(sent)


def _code_of(result: dict[str, Any]) -> str | None:
    """Return the last part of the type of a unit's problem; None if the unit has a result."""
    return str(result["error"]["type"]).rpartition("/")[2] if result["error"] else None


def _job(client: httpx.Client, path: str) -> dict[str, Any]:
    return dict(client.get(path).raise_for_status().json())


def _state_at_end(client: httpx.Client, path: str) -> str:
    """Wait for the end of a job, and return its state."""

    def state() -> str | None:
        found = str(_job(client, path)["state"])
        return found if found in FINAL else None

    return eventually(state, within=120)


def _all_jobs(client: httpx.Client, kind: str) -> set[str]:
    """Return the paths of all jobs of a kind."""
    paths, cursor = set[str](), None
    while True:
        page = _job(client, f"{kind}?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        paths |= {f"{kind}/{each['id']}" for each in page["jobs"]}
        if not (cursor := page["next_cursor"]):
            return paths
