"""The callers of `soak.py`: each sends its kind of work until it is told to stop, and counts what it did."""

import base64
import hashlib
import io
import itertools
import os
import secrets
import threading
import time
from collections import Counter

import httpx
from PIL import Image, ImageDraw, ImageFont

TUS = {"tus-resumable": "1.0.0"}
CHUNK = TUS | {"content-type": "application/offset+octet-stream"}
TEXT = "The quik brown fox jumps ovr the lazy dog"
READ = (
    *("/models", "/audit", "/storage", "/trash", "/journal", "/uploads", "/pulls", "/ocr/jobs"),
    *("/metrics", "/engine", "/engine/capabilities", "/readyz", "/version", "/openapi.json", "/docs"),
)
"""What the caller `Puller` reads after each pull."""
AT_MOST = 60
"""How often a request that is answered 503 is sent again."""
ROUNDS = 3
"""After so many rounds of work, each caller has sent each of its requests at least once."""
NAMES = 3
"""How many names the models have that stay. A name comes again with the same fate, so that the folder does not grow."""


class Caller:
    """Sends requests, one at a time. An answer 503 is sent again after its Retry-After, as a client should."""

    def __init__(self, url: str, source_url: str, pause_seconds: float) -> None:
        self._client: httpx.Client
        self._url = url
        self._source_url, self._pause_seconds = source_url, pause_seconds
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.again = 0
        self._numbers = itertools.count()

    def live(self, is_over: threading.Event, rounds: int) -> None:
        """Work until `is_over` is set, and for so many rounds at least. May be called again."""
        done = 0
        with httpx.Client(base_url=self._url, timeout=600) as self._client:
            while not is_over.is_set() or done < rounds:
                try:
                    self.work(next(self._numbers))
                except (httpx.HTTPError, AssertionError) as exc:
                    self.wrong.append(f"{type(self).__name__}: {exc!r}")
                    time.sleep(1)
                done += 1

    def work(self, number: int) -> None:
        """Do one round of work."""
        raise NotImplementedError

    def send(self, what: str, method: str, path: str, *expected: int, **more: object) -> httpx.Response:
        """Send a request, count it, and return the answer. Raises AssertionError for an unexpected status."""
        for _ in range(AT_MOST):
            answer = self._client.request(method, path, **more)  # type: ignore[arg-type]  # as httpx has them
            time.sleep(self._pause_seconds)
            if answer.status_code != 503:
                break
            self.again += 1
            time.sleep(float(answer.headers.get("retry-after", "1")))
        if answer.status_code not in (expected or (200,)):
            message = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
            raise AssertionError(message)
        self.done[what] += 1
        return answer


class Keeper(Caller):
    """Uploads, replaces, protects, verifies, downloads, deletes, restores and purges models."""

    def work(self, number: int) -> None:
        """Do it all with one model."""
        name, content = f"kept-{number % NAMES}.bin", os.urandom(50_000 + number % 7 * 30_000)
        there = self._client.head(f"/models/{name}")
        condition = {"if-match": there.headers["etag"]} if there.status_code == 200 else {}
        self.send("uploads", "PUT", f"/models/{name}", 200, 201, content=content, headers=condition)
        self.send("verifications", "POST", f"/models/{name}/verify")
        answer = self.send("downloads", "GET", f"/models/{name}/content")
        assert answer.content == content, name  # noqa: S101
        self.send("protections", "PUT", f"/models/{name}/protection", 200, 201, 204, json={"reason": "soak"})
        self.send("protections removed", "DELETE", f"/models/{name}/protection", 200, 204)
        deleted = self.send("deletions", "DELETE", f"/models/{name}").json()
        if number % 3 == 0:
            self.send("restores", "POST", f"/trash/{deleted['trash_id']}/restore", 200, 201)
        elif number % 3 == 1:
            self.send("purges", "DELETE", f"/trash/{deleted['trash_id']}", 200, 204)


class Sender(Caller):
    """Uploads models in pieces, each with a new name; each third upload is left unfinished, and expires."""

    def work(self, number: int) -> None:
        """Send one model in two pieces."""
        content = os.urandom(100_000)
        fields = {"filename": f"sent-{number}.bin", "sha256": hashlib.sha256(content).hexdigest()}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items())
        begun = self.send(
            "resumable uploads begun",
            "POST",
            "/uploads",
            201,
            headers=TUS | {"upload-length": str(len(content)), "upload-metadata": metadata},
        )
        path, half = begun.headers["location"], len(content) // 2
        self._append(path, 0, content[:half])
        if number % 3 == 0:
            return
        self._append(path, half, content[half:])
        self.send("deletions for good", "DELETE", f"/models/{fields['filename']}", params={"permanent": "true"})

    def _append(self, path: str, offset: int, content: bytes) -> None:
        headers = CHUNK | {"upload-offset": str(offset)}
        self.send("pieces", "PATCH", path, 204, headers=headers, content=content)


class Puller(Caller):
    """Pulls models, waits for the jobs or follows them, and reads the lists that operators read."""

    def work(self, number: int) -> None:
        """Pull one model, and read."""
        body = {"url": f"{self._source_url}pulled.bin", "name": f"pulled-{number % NAMES}.bin", "if_exists": "replace"}
        job = self.send("pulls", "POST", "/pulls", 202, json=body).json()
        if number % 2:
            accept = {"accept": "text/event-stream"}
            followed = self.send("streams followed", "GET", f"/pulls/{job['id']}/events", headers=accept)
            assert "succeeded" in followed.text, followed.text[-300:]  # noqa: S101
        else:
            ended = self.send("long polls", "GET", f"/pulls/{job['id']}", params={"wait": 30}).json()
            assert ended["state"] in {"succeeded", "running", "queued"}, ended  # noqa: S101
        for path in READ:
            self.send("lists and probes", "GET", path)


class User(Caller):
    """Loads the model, processes texts, recognises pages, at once and as jobs, and releases the engine."""

    def __init__(self, url: str, source_url: str, pause_seconds: float) -> None:
        super().__init__(url, source_url, pause_seconds)
        self._pages = [page_of(lines) for lines in (1, 2, 4)]

    def work(self, number: int) -> None:
        """Use the engine; release it in every third round."""
        self.send("loads", "POST", "/engine/load", json={"processor": "spell-check"})
        self.send("texts", "POST", "/ai/spell-check", json={"texts": [TEXT]})
        self._recognise("recognitions", self._pages[number % len(self._pages)])
        if number % 3 == 1:
            job = self._recognise("recognition jobs", self._pages[0], prefer="respond-async")
            followed = self.send("streams followed", "GET", f"{job.headers['location']}/events")
            assert "succeeded" in followed.text, followed.text[-300:]  # noqa: S101
        if number % 3 == 0:
            self.send("keywords", "POST", "/ai/keywords", json={"texts": [TEXT], "keywords": ["fox"]})
        if number % 3 == 2:
            self.send("releases", "POST", "/engine/release")

    def _recognise(self, what: str, page: bytes, **headers: str) -> httpx.Response:
        return self.send(what, "POST", "/ocr", 200, 202, content=page, headers={"content-type": "image/png"} | headers)


class Stranger(Caller):
    """Sends requests that are new each time: what the service keeps of a request would fill its memory."""

    def work(self, number: int) -> None:
        """Ask for things that are not there, with filters, hosts and paths that nobody sent before."""
        new = secrets.token_hex(400)
        self.send("filters", "GET", "/models", params={"name": f"{new[:40]}*", "min_size": number})
        self.send("strange requests", "GET", f"/models/{new[:200]}.bin", 404)
        self.send("strange requests", "GET", f"/{new}", 404)
        self.send("strange requests", "GET", "/models", 400, 403, 421, headers={"host": f"{new}.example"})
        self.send(
            "strange requests", "GET", "/models", headers={"x-request-id": new[:32], "accept": f"text/{new}, */*"}
        )
        self.send("strange requests", "GET", f"/pulls/{new[:32]}", 404)


CALLERS = (Keeper, Sender, Puller, User, Stranger)


def page_of(lines: int) -> bytes:
    """Return a PNG with some lines of text."""
    image = Image.new("L", (600, 60 + 40 * lines), "white")
    for number in range(lines):
        place = (20, 20 + number * 40)
        ImageDraw.Draw(image).text(place, f"Invoice {number} of the harbour", font=ImageFont.load_default(24), fill=0)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
