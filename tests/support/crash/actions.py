"""The actions that a test may do to a model folder at random, through a store in this process or a service."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from app.build import build_jobs
from app.jobs.records import JobState
from app.jobs.sweep import sweep_jobs
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.request import PullRequest
from app.store.actor import Actor
from app.store.audit.findings import Hint, Reason, audit, plan_prune
from app.store.incoming.publish_conditions import Conditions
from app.store.inventory import Model
from app.store.policy import Policy
from app.store.store import Store
from tests.support.crash.labelled_hub import DRIP_SECONDS, label_of
from tests.support.own_pulls import OwnPulls
from tests.support.waiting import eventually

RETENTION_SECONDS = float(os.environ.get("TEST_RETENTION_SECONDS", "3600"))
JOB_RETENTION = timedelta(seconds=1)


class Refused(Exception):
    """The store or the service refused an action, in a documented way."""


class Verbs(Protocol):
    """The actions on a model folder. Each names the request that does it, and raises Refused."""

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None: ...
    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None: ...
    def restore(self, request: str, trash_id: str, name: str) -> None: ...
    def purge(self, request: str, trash_id: str) -> None: ...
    def empty(self, request: str) -> None: ...
    def sweep(self) -> None: ...
    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None: ...
    def pull(self, request: str, url: str, name: str) -> None: ...
    def adopt(self) -> list[str]: ...
    def cancel(self) -> None: ...


class ByStore:
    """The actions, done by a store in this process."""

    def __init__(self, root: Path, actor: str, hub_url: str = "") -> None:
        self._store = Store(
            root,
            Policy(),
            trash_retention=timedelta(seconds=RETENTION_SECONDS),
            on_event=self._on_event,
        )
        self._store.open()
        self._jobs = build_jobs(self._store)
        self._actor = actor
        self._pulls = OwnPulls(self._store, self._jobs, (hub_url,)) if hub_url else None

    @staticmethod
    def _on_event(event: str, fields: dict[str, Any]) -> None:
        if event == "journal.failed":
            raise AssertionError(fields)

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None:
        incoming = self._store.incoming
        conditions = Conditions(if_match=frozenset({if_match}) if if_match else None)
        incoming.plan(name, conditions, len(content))
        staged = incoming.begin()
        try:
            for start in range(0, len(content), 1 << 16):
                staged.write(content[start : start + (1 << 16)])
            incoming.publish(name, staged, conditions, Actor(self._actor, request))
        finally:
            staged.discard()

    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None:
        plan = self._store.deletions.plan(name, if_match=[if_match], permanent=permanent)
        self._store.deletions.delete(plan, Actor(self._actor, request))

    def restore(self, request: str, trash_id: str, name: str) -> None:
        self._store.trash.restore(trash_id, name, Actor(self._actor, request))

    def purge(self, request: str, trash_id: str) -> None:
        self._store.trash.purge(trash_id, Actor(self._actor, request))

    def empty(self, request: str) -> None:
        self._store.trash.empty(Actor(self._actor, request))

    def sweep(self) -> None:
        self._store.sweep(self._jobs.needs_no_partials)
        sweep_jobs(self._jobs, JOB_RETENTION)

    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None:
        plan = plan_prune(
            audit(self._store.scan(), self._store.policy, self._store.protections),
            Reason,
            permanent=False,
            include=Hint,
        )
        known = [finding for finding in plan.findings if is_known(finding.model)]
        self._store.audits.execute(replace(plan, findings=tuple(known)), Actor(self._actor, request))

    def pull(self, request: str, url: str, name: str) -> None:
        assert self._pulls
        job = self._pulls.ask_for(PullRequest(url=url, name=name), Actor(self._actor, request))
        if job.state is not JobState.SUCCEEDED:
            raise Refused(job.failure)

    def adopt(self) -> list[str]:
        assert self._pulls
        return [label_of(job.request["url"]) for job in self._pulls.adopt() if job.state is JobState.SUCCEEDED]

    def cancel(self) -> None:
        for job in self._jobs.unfinished(PULL)[:1]:
            PullJobs(self._store, self._jobs).cancel(job.id)


class ByHttp:
    """The actions, done by a service over HTTP."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None:
        headers = {"if-match": if_match} if if_match else {}
        self._call("PUT", f"/models/{quote(name)}", request, content=_in_drips(content), headers=headers)

    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None:
        params = {"permanent": "true"} if permanent else {}
        self._call("DELETE", f"/models/{quote(name)}", request, params=params, headers={"if-match": if_match})

    def restore(self, request: str, trash_id: str, name: str) -> None:
        self._call("POST", f"/trash/{trash_id}/restore", request, params={"as": name})

    def purge(self, request: str, trash_id: str) -> None:
        self._call("DELETE", f"/trash/{trash_id}", request)

    def empty(self, request: str) -> None:
        self._call("DELETE", "/trash", request)

    def sweep(self) -> None:
        raise Refused  # the service sweeps without a request

    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None:
        raise Refused  # the service's plan does not name the versions of its models

    def pull(self, request: str, url: str, name: str) -> None:
        asked = self._call("POST", "/pulls", request, json={"url": url, "name": name})
        path = asked.headers["location"]
        if eventually(lambda: self._finished(path), within=60)["state"] != "succeeded":
            raise Refused

    def adopt(self) -> list[str]:
        """Return the labels of the pulls that have succeeded. The service adopts pulls without a request."""
        succeeded = self._client.get("/pulls", params={"state": "succeeded"}).raise_for_status().json()["jobs"]
        return [label_of(job["request"]["url"]) for job in succeeded]

    def cancel(self) -> None:
        running = self._client.get("/pulls", params={"state": "running"}).raise_for_status().json()["jobs"]
        for job in running[:1]:
            self._client.delete(f"/pulls/{job['id']}")

    def _finished(self, path: str) -> dict[str, Any] | None:
        job: dict[str, Any] = self._client.get(path).raise_for_status().json()
        return job if job["finished_at"] else None

    def _call(self, method: str, path: str, request: str, **options: Any) -> httpx.Response:
        headers = options.pop("headers", {}) | {"x-request-id": request}
        answer = self._client.request(method, path, headers=headers, **options)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            raise Refused(answer.text)
        return answer


def _in_drips(content: bytes) -> Iterator[bytes]:
    """Yield the content slowly, so that a service that is killed has received a part of it."""
    never = threading.Event()
    for start in range(0, len(content), 1 << 16):
        never.wait(DRIP_SECONDS)
        yield content[start : start + (1 << 16)]
