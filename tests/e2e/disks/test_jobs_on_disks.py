"""Jobs whose files do not fit on the disk: there is no job, nothing of it is left, and the answer says what to do."""

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients.answers import problem_of
from tests.support.mounts import fill, seen_by, small_disk
from tests.support.service import RunningService
from tests.support.waiting import eventually

MIB = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service whose model folder is a disk of 8 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    (folder / "models").mkdir()
    wrapper = small_disk(folder / "models", "8m")
    with RunningService(folder, wrapper=wrapper, engine_class="tests.support.engines:Reads") as running:
        yield running.wait_until_ready()


Files = list[tuple[str, tuple[str, bytes]]]


def form(*sizes: int) -> Files:
    return [("file", (f"{number}.png", os.urandom(size))) for number, size in enumerate(sizes)]


def archive(*sizes: int, content: Callable[[int], bytes]) -> Files:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for number, size in enumerate(sizes):
            opened.writestr(f"{number}.png", content(size))
    return [("file", ("pages.zip", packed.getvalue()))]


REQUESTS = {
    "a form of many images": lambda: form(*[MIB] * 12),
    "a form with an image that alone is too large": lambda: form(10, 12 * MIB),
    "an archive that is too large": lambda: archive(*[MIB] * 12, content=os.urandom),
    "an archive whose files are too large": lambda: archive(*[MIB] * 12, content=bytes),
    "an archive with a file that alone is too large": lambda: archive(12 * MIB, content=bytes),
}


def files_of(folder: Path) -> list[str]:
    """Return the files and folders of jobs and in staging."""
    return sorted(str(path) for part in ("jobs", "staging") for path in (folder / ".store" / part).rglob("*"))


@pytest.mark.parametrize("files_sent", REQUESTS.values(), ids=REQUESTS)
def test_a_job_that_does_not_fit_leaves_nothing(service: RunningService, files_sent: Callable[[], Files]) -> None:
    """The disk gets full while the files arrive or are unpacked. A smaller job is done after that."""
    inside = seen_by(service.process.pid, service.models_dir)
    before, free = files_of(inside), os.statvfs(inside).f_bfree

    answer = service.client.post("/ocr/jobs", files=files_sent())

    assert problem_of(answer) == (507, "store-full"), answer.text
    assert "DELETE /trash" in answer.json()["detail"]
    assert files_of(inside) == before
    assert os.statvfs(inside).f_bfree == pytest.approx(free, abs=16)
    location = service.client.post("/ocr/jobs", files=[("file", b"read it")]).raise_for_status().headers["location"]
    eventually(lambda: service.client.get(location).json()["state"] == "succeeded", within=60)
    assert service.client.get("/ocr/jobs").json()["count"] == len(list((inside / ".store/jobs").iterdir()))


def test_a_full_disk_takes_no_job(service: RunningService) -> None:
    """On a disk without a free byte the answer is the same, and nothing is left."""
    inside = seen_by(service.process.pid, service.models_dir)
    before = files_of(inside)
    fill(inside)
    try:
        answer = service.client.post("/ocr/jobs", files=[("file", b"read it")])
        left = files_of(inside)
    finally:
        (inside / "filler").unlink()

    assert (problem_of(answer), left) == ((507, "store-full"), before)
