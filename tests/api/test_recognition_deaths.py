"""What becomes of a request, its files and the service when the engine does not survive an image."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.service import RunningService
from tests.support.waiting import eventually

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose engine does what the image says."""
    folder = tmp_path_factory.mktemp("deaths")
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="1s") as running:
        yield running


@pytest.fixture
def ready(reader: RunningService) -> Iterator[RunningService]:
    """The same, ready; afterwards ready again, and without a trace of the image."""
    yield reader.wait_until_ready()
    reader.wait_until_ready()
    assert list(reader.state_dir.rglob("call-*")) == []


@pytest.mark.parametrize(
    ("image", "status", "slug"),
    [
        (b"abort", 502, "engine-died"),
        (b"hold_gil 30", 504, "engine-timed-out"),
        (b"say_nonsense", 502, "engine-died"),
        (b"environment", 422, "engine-call-failed"),
    ],
)
def test_an_image_that_the_engine_does_not_survive(ready: RunningService, image: bytes, status: int, slug: str) -> None:
    """A documented problem, and the list answers all the while."""
    answer = ready.client.post("/ocr", content=image, headers=PNG)

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, slug)
    assert ready.client.get("/models").status_code == 200


def test_a_caller_that_hangs_up_frees_the_engine(ready: RunningService) -> None:
    """Its process is replaced at once, and nothing waits for the deadline."""
    pid = ready.engine()["pid"]

    with pytest.raises(httpx.ReadTimeout):
        ready.client.post("/ocr", content=b"hold_gil 30", headers=PNG, timeout=0.3)

    eventually(lambda: ready.engine()["pid"] not in {pid, None}, within=10)
    assert "went away" in ready.engine()["last_exit"]["reason"]
