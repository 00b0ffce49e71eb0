"""Damaged records in `.store/`, and parts of it removed or replaced, under a running service: it goes on."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Serve
from tests.support.files.damage import KINDS, clear, damage, put
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

LISTS = (
    "/models",
    "/trash",
    "/journal",
    "/audit",
    "/storage",
    "/uploads",
    "/pulls",
    "/ocr/jobs",
    "/ai/jobs",
    "/metrics",
)
EXAMPLES = int(os.environ.get("TEST_DAMAGED_SERVICE", "10"))
PARTS = (
    "locks",
    "locks/models",
    "locks/leases",
    "trash",
    "aside",
    "staging",
    "digests",
    "jobs",
    "protection",
    "corrupt",
    "services",
    "journal.jsonl",
    "store.json",
    "",
)
"""The parts of `.store/`, and the whole."""
FILES = ("locks/models", "journal.jsonl", "store.json")
WAYS = ("removed", "emptied", "file", "folder", "link")
NAMED = "a.bin", "org/b.gguf"


def statuses(service: RunningService) -> dict[str, int]:
    return {path: service.client.get(path).status_code for path in LISTS}


def trash_one(service: RunningService, name: str) -> str:
    """Upload a model, delete it, and return its trash id."""
    service.client.put(f"/models/{name}", content=b"model").raise_for_status()
    return str(service.client.delete(f"/models/{name}").raise_for_status().json()["trash_id"])


def sweep_has_passed(service: RunningService, store: Path) -> None:
    """Wait until a whole sweep was made: it has removed an expired record of a job, which is its last step."""
    stamp = "20200101T000000Z-0123456789ab"
    old = (store / "jobs" / stamp).with_suffix(".cancel")
    old.touch()
    os.utime(old, (0, 0))
    eventually(lambda: not old.exists(), within=60)


def is_whole(service: RunningService, log_before: str = "") -> None:
    """Check that the service is ready and that no part of it failed since it had written `log_before`."""
    assert service.process.poll() is None
    assert service.client.get("/readyz").status_code == 200
    log = service.log.removeprefix(log_before)
    for event in ("part_failed", "part_restarted", "request.crashed", "Task exception"):
        assert event not in log


@pytest.mark.slow
def test_a_service_goes_on_with_any_damaged_records(serve: Serve, tmp_path: Path) -> None:
    """With damaged records of all kinds the lists answer 200, sweeps and other records work, after a restart too."""
    outside, service = tmp_path / "outside", serve(engine_class=ECHO).wait_until_ready()
    outside.write_bytes(b"outside")
    store = service.models_dir / ".store"

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(damage(), min_size=8, max_size=8))
    def check(damaged: list[tuple[str, str, bytes, str]]) -> None:
        kept = trash_one(service, "kept.bin")
        for name, type_, content, beside in damaged:
            kind = KINDS[name]
            put(store / kind.path, type_, content, outside)
            if kind.beside:
                put(store / kind.beside, beside, b"bytes", outside)
        assert set(statuses(service).values()) == {200}
        service.client.post(f"/trash/{kept}/restore").raise_for_status()
        service.client.delete("/models/kept.bin?permanent=true").raise_for_status()
        assert outside.read_bytes() == b"outside"

    check()
    sweep_has_passed(service, store)
    is_whole(service)
    assert service.client.get("/storage").json()["damaged_records"] != []
    service.stop()

    again = serve(engine_class=ECHO).wait_until_ready()
    assert set(statuses(again).values()) == {200}
    kept = trash_one(again, "kept.bin")
    sweep_has_passed(again, store)
    again.client.post(f"/trash/{kept}/restore").raise_for_status()
    is_whole(again)
    assert outside.read_bytes() == b"outside"


@pytest.fixture(scope="module")
def damaged_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("parts"), engine_class=ECHO) as running:
        yield running.wait_until_ready()


@contextmanager
def changing(service: RunningService, seen: list[httpx.Response]) -> Iterator[None]:
    """Let two callers change and read models until the block ends, and note each answer."""
    over = threading.Event()

    def change(name: str) -> None:
        name = f"{name}-{secrets.token_hex(4)}"
        with httpx.Client(base_url=service.url, timeout=120) as client:
            number = 0
            while not over.is_set():
                number += 1
                if (put := client.put(f"/models/{name}-{number}.bin", content=b"model")).status_code == 201:
                    gone = client.delete(f"/models/{name}-{number}.bin")
                    seen.append(gone)
                    if gone.status_code == 200:
                        seen.append(client.post(f"/trash/{gone.json()['trash_id']}/restore"))
                seen.append(put)
                seen.extend(client.get(path) for path in ("/models", "/trash", "/journal", "/uploads", "/pulls"))

    threads = [threading.Thread(target=change, args=(f"caller{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def intact(path: Path, how: str) -> Iterator[None]:
    """If the block fails, remove what was put at a path, so that the next test begins with a service that works."""
    try:
        yield
    except BaseException:
        clear(path)
        raise


def replace(path: Path, how: str, elsewhere: Path) -> None:
    """Remove, empty or replace a part of `.store/`."""
    aside = elsewhere / "moved"
    clear(aside)
    if how == "emptied":
        for below in path.iterdir() if path.is_dir() else ():
            clear(below)
        if path.is_file():
            path.write_bytes(b"")
        return
    path.rename(aside)
    if how != "removed":
        eventually(lambda: is_put(path, how, aside))


def is_put(path: Path, how: str, aside: Path) -> bool:
    """Put something at a path. Return False if the service has made its own there anew meanwhile."""
    clear(path)
    with suppress(FileExistsError, FileNotFoundError):
        if how == "file":
            with path.open("xb") as file:
                file.write(b"nothing of the service")
        elif how == "link":
            path.symlink_to(aside)
        elif how == "folder":
            path.mkdir()
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "how"),
    [(part, how) for part in PARTS for how in WAYS if how != "folder" or part in FILES],
)
def test_a_part_that_is_removed_or_replaced_is_made_anew_or_named_in_a_503(
    damaged_service: RunningService, tmp_path_factory: pytest.TempPathFactory, part: str, how: str
) -> None:
    """While callers change models: no 500, no wrong 404, no model lost; it works again, or a 503 names what to do."""
    service, seen, log_before = damaged_service, list[httpx.Response](), damaged_service.log
    elsewhere = tmp_path_factory.mktemp("elsewhere", numbered=True)
    path = service.models_dir / ".store" / part if part else service.models_dir / ".store"
    if part not in FILES and not path.is_dir():
        clear(path)  # the former test may have left a file or a dangling link
        path.mkdir(exist_ok=True)
    for name in NAMED:
        if not (service.models_dir / name).exists():
            service.client.put(f"/models/{name}", content=b"kept").raise_for_status()
    trash_one(service, "journal.bin")
    with changing(service, seen), intact(path, how):
        count = len(seen)
        eventually(lambda: len(seen) > count + 10, within=60)
        replace(path, how, elsewhere)
        count = len(seen)
        eventually(lambda: len(seen) > count + 20, within=60)

    with intact(path, how):
        check_answers(seen)
        check_works(service, path, how)
        is_whole(service, log_before)
    for model in service.models_dir.glob("caller*"):
        model.unlink()


def check_answers(seen: list[httpx.Response]) -> None:
    """Check that each answer is a success or a problem that says what to do."""
    assert {a.status_code for a in seen} <= {200, 201, 404, 503}, [a.text for a in seen if a.status_code == 500]
    for answer in seen:
        if answer.status_code == 404:  # only of an entry that went with the trash
            assert answer.json()["type"].endswith("trash-entry-not-found"), answer.text
        if answer.status_code == 503:
            assert ".store" in answer.json()["detail"], answer.text


def check_works(service: RunningService, path: Path, how: str) -> None:
    """Check that no model was lost, and that the service works again, if need be once what is in the way is removed."""
    assert [(service.models_dir / name).read_bytes() for name in NAMED] == [b"kept", b"kept"]

    def put_one() -> httpx.Response:
        return service.client.put("/models/works.bin", content=b"model")

    if how != "removed" and (answer := put_one()).status_code != 201:
        assert answer.status_code == 503
        assert "remove" in answer.json()["detail"].lower(), answer.text
        clear(path)
    eventually(lambda: put_one().status_code == 201 or (service.models_dir / "works.bin").exists())
    trash_id = service.client.delete("/models/works.bin").raise_for_status().json()["trash_id"]
    service.client.post(f"/trash/{trash_id}/restore").raise_for_status()
    service.client.delete("/models/works.bin?permanent=true").raise_for_status()
    eventually(lambda: set(statuses(service).values()) == {200})
    eventually(lambda: service.client.get("/readyz").status_code == 200)


@pytest.mark.slow
def test_a_defect_in_a_background_part_is_logged_and_the_part_goes_on(serve: Serve) -> None:
    """The sweeper, the pulls, the monitor and the inventory each raise once: all of them work again after a pause."""
    service = serve(engine_class=ECHO, module="tests.support.defects.parts_with_defects")

    for name in ("sweep", "unfinished_of_units", "retake_lost_leases", "manual"):
        eventually(lambda name=name: f"the test's defect in {name}" in service.log, within=60)

    sweep_has_passed(service, service.models_dir / ".store")
    (service.models_dir / "a.bin").write_bytes(b"model")
    eventually(lambda: service.client.get("/models").json()["count"] == 1, within=60)
    assert service.client.delete("/models/a.bin").status_code == 200
    assert service.log.count("service.part_restarted") == 4
    assert "part_failed" not in service.log
    assert service.process.poll() is None


@pytest.mark.slow
def test_a_lease_of_a_command_outlives_the_lock_file_and_the_store(serve: Serve, tmp_path: Path) -> None:
    """A command holds a lease while the lock file, its folder and all of `.store/` are removed: the lease counts."""
    service = serve(engine_class=ECHO).wait_until_ready()
    (service.models_dir / "a.bin").write_bytes(b"model")
    environment = os.environ | {"OCR_MODELS_DIR": str(service.models_dir)}
    command = [sys.executable, "-m", "app", "models", "lease", "a.bin", "--", "sleep", "600"]

    def in_use() -> int:
        return int(service.client.get("/models?in_use=true").json()["count"])

    with subprocess.Popen(command, cwd=ROOT, env=environment) as holder:
        try:
            eventually(lambda: in_use() == 1, within=60)
            for part in ("locks/models", "locks", ""):
                path = service.models_dir / ".store" / part
                path.rename(tmp_path / f"removed-{part.replace('/', '-')}")
                answer = service.client.delete("/models/a.bin")
                assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "model-in-use")
                # The service takes the lease over to the new lock file, so that a command that begins now sees it.
                eventually(lambda: "is in use" in deleted_by_command(environment), within=60)
                assert in_use() == 1
        finally:
            holder.kill()
    eventually(lambda: in_use() == 0, within=60)
    assert service.client.delete("/models/a.bin").status_code == 200


def deleted_by_command(environment: dict[str, str]) -> str:
    """Ask a command whether it could delete the model, and return what it prints to stderr."""
    command = [sys.executable, "-m", "app", "models", "delete", "a.bin", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.stderr
