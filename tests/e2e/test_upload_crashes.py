"""Services killed and disks filled in the middle of uploads: a model is wholly there or not there."""

import contextlib
import hashlib
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve
from tests.support.mounts import small_disk
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

MIB = 1 << 20
SEED = 20261121
SIZE = 24 * MIB


def content_of(number: int) -> bytes:
    return random.Random(number).randbytes(MIB)  # noqa: S311 - to be the same each time


def chunks(number: int, sent: list[int]) -> Iterator[bytes]:
    """A model of 24 MiB; what was taken of it is noted."""
    for _ in range(SIZE // MIB):
        sent.append(MIB)
        yield content_of(number)


def sha256_of(number: int) -> str:
    return hashlib.sha256(content_of(number) * (SIZE // MIB)).hexdigest()


def upload(service: RunningService, number: int, sent: list[int]) -> int:
    """The status, or 0 when there was no answer."""
    with contextlib.suppress(httpx.TransportError):
        headers = {"if-match": "*"} if number else {}
        return service.client.put("/models/a.bin", content=chunks(number, sent), headers=headers).status_code
    return 0


def listed(service: RunningService) -> list[str]:
    return [model["name"] for model in service.client.get("/models").raise_for_status().json()["models"]]


def kill_somewhere(service: RunningService, number: int, chance: random.Random) -> int:
    """Upload, and kill the service after a part of it, or as soon as all of it was sent, when it is being published."""
    sent: list[int] = []
    least = chance.choice([chance.randint(1, SIZE // MIB), SIZE // MIB])
    with ThreadPoolExecutor(1) as thread:
        answer: Future[int] = thread.submit(upload, service, number, sent)
        eventually(lambda: len(sent) >= least or answer.done(), within=20)
        moment = time.monotonic() + chance.uniform(0, 0.06)
        eventually(lambda: time.monotonic() >= moment)
        service.stop(signal.SIGKILL)
        return answer.result()


def crash_again_and_again(serve: Serve, rounds: int) -> None:
    """Every round replaces the model of the round before, or is killed at it."""
    chance = random.Random(SEED)  # noqa: S311
    present = 0
    service = serve(engine_class=ECHO)
    assert upload(service, 0, []) == 201
    for number in range(1, rounds + 1):
        status = kill_somewhere(service, number, chance)
        service = serve(engine_class=ECHO)
        model = service.client.get("/models/a.bin").raise_for_status().json()
        found = hashlib.sha256((service.models_dir / "a.bin").read_bytes()).hexdigest()
        assert found in {sha256_of(present), sha256_of(number)}
        assert status != 200 or found == sha256_of(number)
        assert model["sha256"] in {found, None}
        assert listed(service) == ["a.bin"]
        present = number if found == sha256_of(number) else present
        staging = service.models_dir / ".store/staging"
        eventually(lambda: list(staging.iterdir()) == [])  # noqa: B023 - asked here and now
        service.client.delete("/trash").raise_for_status()


def test_a_service_killed_during_uploads_leaves_the_old_model_or_the_new(serve: Serve) -> None:
    """Killed anywhere in between, again and again: whole in either case, and after a restart nothing is staged."""
    crash_again_and_again(serve, 15)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_same_many_times(serve: Serve) -> None:
    """150 kills."""
    crash_again_and_again(serve, 150)


@pytest.mark.parametrize("is_told", [True, False], ids=["length told", "chunked"])
def test_a_disk_too_small_refuses_an_upload_and_keeps_nothing(serve: Serve, tmp_path: Path, *, is_told: bool) -> None:
    """507, before the body when its length is known, midway when not; what fits still comes in."""
    (tmp_path / "models").mkdir()
    service = serve(wrapper=small_disk(tmp_path / "models", "4m"), engine_class=ECHO)
    inside = Path(f"/proc/{service.process.pid}/root{tmp_path}/models")
    large = b"x" * (8 * MIB)

    refused = service.client.put("/models/a.bin", content=large if is_told else iter([large[:MIB]] * 8))

    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (507, "store-full")
    assert (refused.json()["need_bytes"] == 8 * MIB) is is_told
    assert list((inside / ".store/staging").iterdir()) == []
    assert listed(service) == []
    assert service.client.put("/models/a.bin", content=large[:MIB]).status_code == 201
