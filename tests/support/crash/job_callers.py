"""Callers that create, cancel and read jobs of texts, images and pulls while the services are ended."""

import hashlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.crash.job_ledger import FINAL, Ledger, Made
from tests.support.hub import Fault, Hub
from tests.support.webhook_receiver import WebhookReceiver

CALLERS = 4
MOST_UNFINISHED = 30
"""How many jobs may be unfinished, so that the services finish all of them soon after the end of the calls."""
LATER = (429, 503)
"""The statuses of requests that a caller should send again later."""
LOST = 0.1
"""How many answers a caller does not get, beside those that a service which was ended could not send."""
PULLED_BYTES = 200_000


class SlowHub(Hub):
    """A hub from which each pull takes long enough that services are ended meanwhile."""

    def usual_at(self, path: str) -> Fault:
        del path
        return Fault(pause_seconds=0.1)


class Callers:
    """Callers of several services. A caller that gets no answer sends the request again, to any service."""

    def __init__(self, url: Callable[[], str], ledger: Ledger, hub: Hub, receiver: WebhookReceiver) -> None:
        """`url` returns the URL of any service, which may be ended meanwhile."""
        self._url = url
        self._ledger = ledger
        self._hub = hub
        self._receiver = receiver
        self._numbers = itertools.count()
        self._is_over = threading.Event()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Let the callers call until the end of the block."""
        with ThreadPoolExecutor(CALLERS) as threads:
            living = [threads.submit(self._live, random.Random(number)) for number in range(CALLERS)]  # noqa: S311
            try:
                yield
            finally:
                self._is_over.set()
            for each in living:
                each.result()

    def _live(self, chance: random.Random) -> None:
        actions = [self._create_texts, self._create_images, self._pull, self._cancel, self._read]
        while not self._is_over.wait(0.05):
            (action,) = chance.choices(actions, [3, 3, 1, 2, 2])
            action(chance)

    def _create_texts(self, chance: random.Random) -> None:
        texts = [chance.choice(["a", "sleep:0.05", "fail:odd"]) for _ in range(chance.randint(1, 8))]
        fails = [text.startswith("fail") for text in texts]
        self._create("/ai/spell-check", fails, chance, headers={"prefer": "respond-async"}, json={"texts": texts})

    def _create_images(self, chance: random.Random) -> None:
        images = [chance.choice([b"read a", b"nap 0.05", b"odd"]) for _ in range(chance.randint(1, 8))]
        files = [("file", (f"{number}", image)) for number, image in enumerate(images)]
        self._create("/ocr/jobs", [image == b"odd" for image in images], chance, files=files)

    def _create(self, path: str, fails: list[bool], chance: random.Random, **request: Any) -> None:
        webhook = self._webhook(chance)
        if webhook:
            request["params"] = {"webhook": f"{self._receiver.url}{webhook}"}
        self._accept(Made(fails, webhook), path, chance, **request)

    def _pull(self, chance: random.Random) -> None:
        name, content, webhook = (
            f"pulled_{next(self._numbers)}.bin",
            chance.randbytes(PULLED_BYTES),
            self._webhook(chance),
        )
        body = {"url": self._hub.put(f"/{name}", content), "sha256": hashlib.sha256(content).hexdigest()}
        if webhook:
            body["webhook"] = f"{self._receiver.url}{webhook}"
        self._accept(Made([], webhook, name, content), "/pulls", chance, json=body)

    def _webhook(self, chance: random.Random) -> str | None:
        return f"/ended/{next(self._numbers)}" if chance.random() < 0.5 else None

    def _accept(self, made: Made, path: str, chance: random.Random, **request: Any) -> None:
        """Create a job, by as many requests as it takes until a service answers. All of them have one key."""
        if len(self._ledger.unfinished()) > MOST_UNFINISHED:
            return
        headers = request.pop("headers", {}) | {"idempotency-key": f"{next(self._numbers)}"}
        while True:
            answer = self._send("POST", path, headers=headers, **request)
            is_lost = chance.random() < LOST
            if answer is not None and answer.status_code not in LATER and not is_lost:
                break
            threading.Event().wait(0.1)
        if answer.status_code not in {200, 202}:
            self._ledger.wrong.append(f"POST {path} was answered {answer.status_code}: {answer.text}")
            return
        self._ledger.add(answer.headers["location"], made)

    def _cancel(self, chance: random.Random) -> None:
        if (path := self._any_job(chance)) and (answer := self._send("DELETE", path)):
            self._note_state(path, answer)

    def _read(self, chance: random.Random) -> None:
        """Read any job and its results, which must not repeat a unit."""
        if (path := self._any_job(chance)) and (answer := self._send("GET", path)):
            self._note_state(path, answer)
            if path.startswith("/pulls"):
                return
            results = self._send("GET", f"{path}/results")
            if results is not None and results.is_success:
                self._ledger.check_each_once(path, results.json()["results"])

    def _any_job(self, chance: random.Random) -> str | None:
        paths = self._ledger.newest(20)
        return chance.choice(paths) if paths else None

    def _note_state(self, path: str, answer: httpx.Response) -> None:
        if answer.is_success and (state := answer.json()["state"]) in FINAL:
            self._ledger.note_end(path, state)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """Send a request to any service. Return None without an answer: the service was ended or has not started."""
        try:
            with httpx.Client(base_url=self._url(), timeout=120) as client:
                return self._ledger.note(client.request(method, path, **request))
        except httpx.TransportError:
            return None
