"""Hostile files and files of others through `POST /ocr` and the header readers of a service with the real AsposeAI.

TEST_CORPORA=all uses every file of the packages in tests/support/files/corpora.py, which takes hours on two cores.
"""

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.store.headers.description import describe
from tests.support.clients.answers import problem_of
from tests.support.files import pictures
from tests.support.files.corpora import IMAGES, IS_WHOLE, MODELS, Corpus
from tests.support.files.hostile_images import LOOPS, MAX_PIXELS, TOO_LARGE
from tests.support.service import RunningService
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(100_000 if IS_WHOLE else 600),
]
DOCUMENTED = {200, 413, 415, 422}
SAMPLES = {"pillow": 16, "pypdf": 36}
"""How many files of a package are sent. Most pages of PDFs are larger than MAX_PIXELS, and so are refused at once."""
GROWTH_BYTES = 30_000_000
"""The most that the service itself may grow meanwhile; without a leak it grows by a few megabytes, and no further."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine and small limits, which make the answers quick."""
    limits: dict[str, Any] = {"max_image_pixels": MAX_PIXELS, "max_image_pages": 2, "recognition_timeout": "300s"}
    folder = tmp_path_factory.mktemp("hostile")
    with RunningService(folder, native_dir=NATIVE, engine_memory_limit=3 << 30, **limits) as running:
        running.client.timeout = 400
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def librarian(reader: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The service that gets the files of others: for all of them, one with the default limits."""
    if not IS_WHOLE:
        yield reader
        return
    folder = tmp_path_factory.mktemp("whole")
    with RunningService(folder, native_dir=NATIVE, engine_memory_limit=3 << 30) as running:
        running.client.timeout = 400
        yield running.wait_until_ready()


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_answered_before_the_engine_follows_it(name: str, reader: RunningService) -> None:
    """A file that forms a loop gets 422, and the engine process is the same afterwards."""
    pid = reader.engine()["pid"]

    answer = reader.client.post("/ocr", content=LOOPS[name]())

    assert problem_of(answer) == (422, "image-unreadable")
    assert reader.engine()["pid"] == pid


@pytest.mark.slow
@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_bomb_is_answered_before_the_engine_reads_it(name: str, reader: RunningService) -> None:
    """A small file with a large content gets 413, and the engine process is the same afterwards."""
    pid = reader.engine()["pid"]

    answer = reader.client.post("/ocr", content=TOO_LARGE[name]())

    assert problem_of(answer) == (413, "image-too-large")
    assert reader.engine()["pid"] == pid


@pytest.mark.slow
@pytest.mark.parametrize("corpus", IMAGES, ids=lambda corpus: corpus.package)
def test_files_of_others_are_read_or_refused(corpus: Corpus, librarian: RunningService) -> None:
    """Every file gets 200 or a documented refusal, whatever it is; the engine and the service's memory stay."""
    pid, before = librarian.engine()["pid"], psutil.Process(librarian.process.pid).memory_info().rss
    statuses: Counter[int] = Counter()
    wrong = {}
    for name, content in corpus.files(sample=SAMPLES[corpus.package]):
        answer = librarian.client.post("/ocr", content=content)
        statuses[answer.status_code] += 1
        if answer.status_code not in DOCUMENTED or (
            answer.status_code != 200 and problem_of(answer)[1] == "engine-call-failed"
        ):
            wrong[name] = answer.text[:300]
        librarian.wait_until_ready()
    print(corpus.package, dict(statuses), wrong)

    assert wrong == {}
    assert statuses[200]
    assert librarian.engine()["pid"] == pid
    assert psutil.Process(librarian.process.pid).memory_info().rss - before < GROWTH_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("corpus", MODELS, ids=lambda corpus: corpus.package)
def test_the_headers_of_others_are_read(corpus: Corpus) -> None:
    """Every model that others made for tests is described, and none is said to be damaged."""
    count = 0
    for name, content in corpus.files(sample=50):
        description = describe(io.BytesIO(content), len(content), name)
        assert (description.problem, description.is_damaged) == (None, False), name
        assert name.endswith(description.format)
        count += 1
    assert count > 5


@pytest.mark.slow
@pytest.mark.parametrize("gigabytes", [4])
def test_the_engine_in_too_few_addresses(gigabytes: int, tmp_path: Path, start_limited: "StartLimited") -> None:
    """Under a limit of addresses (`prlimit --as`) each page is read, or its problem speaks of memory; lists go on."""
    service = start_limited(tmp_path, ("prlimit", f"--as={gigabytes << 30}"))
    page = pictures.encoded("image/png", pictures.page("The quick brown fox", "jumps over the lazy dog"))

    answer = service.client.post("/ocr", content=page)

    assert answer.status_code == 200 or "memory" in answer.json()["detail"].lower()
    assert service.client.get("/models").status_code == 200


StartLimited = Callable[[Path, tuple[str, ...]], RunningService]


@pytest.fixture
def start_limited() -> Iterator[StartLimited]:
    """Start a service by another command that sets limits."""
    started: list[RunningService] = []

    def start(folder: Path, wrapper: tuple[str, ...]) -> RunningService:
        service = RunningService(folder, wrapper=wrapper, native_dir=NATIVE)
        service.__enter__()
        started.append(service)
        service.client.timeout = 300
        return service.wait_until_ready()

    yield start
    for service in started:
        service.__exit__()


GROUPS = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """Make a control group (version 1) with a limit of 300 MiB. Skips the test if that is not allowed here."""
    group = GROUPS / "ocr-test-of-the-engine"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
    except OSError as exc:
        pytest.skip(f"{ELSEWHERE}no control group can be made here: {exc}")
    yield group
    group.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["derived", "none"])
def test_the_engine_in_a_small_container(
    limit: str, tmp_path: Path, memory_group: Path, start_limited: "StartLimited", monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a control group the default limit follows the group's; without one, the kernel's kill is told as memory."""
    enter = f"import os, sys; open({str(memory_group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    wrapper: tuple[str, ...] = (sys.executable, "-c", f"{enter}; os.execvp(sys.argv[1], sys.argv[1:])")
    if limit == "none":
        wrapper = ("env", "OCR_ENGINE_MEMORY_LIMIT=0", *wrapper)
    service = start_limited(tmp_path, wrapper)
    assert service.engine()["memory_limit_bytes"] == (150 << 20 if limit == "derived" else 0)

    answer = service.client.post("/ocr", content=pictures.encoded("image/png", _dense_page()))

    assert problem_of(answer) == (507, "engine-out-of-memory")
    service.wait_until_ready()
    assert "memory" in service.engine()["last_exit"]["reason"]
    assert service.process.poll() is None
    service.stop()


def _dense_page() -> Any:
    return pictures.page(*[f"The quick brown fox jumps over the lazy dog {n}" for n in range(60)], points=70)
