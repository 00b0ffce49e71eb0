"""Folders with links, pipes, devices and unusual names: the service lists them as warnings and never opens them."""

import json
import os
import socket
import stat
import subprocess
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from tests.conftest import Serve
from tests.support.clients.raw import raw_request
from tests.support.files.hostile_names import (
    LONGEST,
    LONGEST_PART,
    LONGEST_PARTS_IN_BYTES,
    NO_MODELS,
    NO_TEXT,
    SCRIPTS,
    SPECIAL,
)
from tests.support.fork_server import run_command
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

SECRET = "outside"
NO_FILES = {
    "self": "a symbolic link",
    "loop/back": "a symbolic link",
    "there": "a symbolic link",
    "back": "a symbolic link",
    "up": "a symbolic link",
    "out": "a symbolic link",
    "passwd.gguf": "a symbolic link",
    "nowhere.gguf": "a symbolic link",
    "long": "a symbolic link",
    "pipe.gguf": "a named pipe",
    "folder.gguf/pipe.bin": "a named pipe",
    "socket.gguf": "a socket",
}
"""The files in the folder that are no models, and the reasons in their warnings."""
NAMES = (*SCRIPTS.values(), *SPECIAL)


def fill(models: Path) -> None:
    """Create links, pipes and sockets at names that look like models."""
    (models.parent / "secret").mkdir(parents=True)
    (models.parent / "secret/model.gguf").write_text(SECRET)
    (models / "loop").mkdir(parents=True)
    (models / "folder.gguf").mkdir()
    (models / "self").symlink_to("self")
    (models / "loop/back").symlink_to("..")
    (models / "there").symlink_to("back")
    (models / "back").symlink_to("there")
    (models / "up").symlink_to("../..")
    (models / "out").symlink_to(models.parent / "secret")
    (models / "passwd.gguf").symlink_to("/etc/passwd")
    (models / "nowhere.gguf").symlink_to("/nowhere")
    (models / "long").symlink_to("x/" * 2000)
    os.mkfifo(models / "pipe.gguf")
    os.mkfifo(models / "folder.gguf/pipe.bin")
    with inside(models), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.gguf")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Change to a folder for the block, because its path is too long for a socket's address."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def add_devices(models: Path) -> dict[str, str]:
    """Create devices, if this user may, and return the expected warnings."""
    kinds = {"tape.gguf": (stat.S_IFCHR, 9), "memory.gguf": (stat.S_IFCHR, 1), "disk.gguf": (stat.S_IFBLK, 7)}
    with suppress(PermissionError):
        for name, (kind, major) in kinds.items():
            os.mknod(models / name, kind | 0o666, os.makedev(major, 1))
        return dict.fromkeys(kinds, "a device")
    return {}


def warnings_of(service: RunningService) -> dict[str, str]:
    """Return the warnings of the list, by path."""
    listed = service.client.get("/models").raise_for_status().json()
    return {warning["path"]: warning["reason"] for warning in listed["warnings"]}


def names_of(service: RunningService) -> set[str]:
    """Return the names of the listed models."""
    return {model["name"] for model in service.client.get("/models").raise_for_status().json()["models"]}


def command_line(models_dir: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line on a model folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
    return run_command(arguments, environment | {"OCR_MODELS_DIR": str(models_dir)})


def test_links_and_devices_are_warnings_and_never_opened(serve: Serve, tmp_path: Path) -> None:
    """Links, pipes, sockets and devices are warnings; no request opens or follows them, nor does the real AsposeAI."""
    models = tmp_path / "models"
    fill(models)
    expected = NO_FILES | add_devices(models)
    (models / "model.gguf").write_text("a model")
    service = serve().wait_until_ready()
    trash_id = service.client.delete("/models/model.gguf").raise_for_status().json()["trash_id"]

    assert warnings_of(service) == expected
    for name in (*expected, "out/model.gguf", "up/secret/model.gguf", "loop/back/model.gguf", "loop", "pipe.gguf/x"):
        for method in ("GET", "DELETE", "PUT"):
            answer = service.client.request(
                method, f"/models/{name}", headers={"if-match": "*"} if method == "PUT" else {}
            )
            assert answer.status_code in {404, 422}, (method, name, answer.text)
            assert SECRET not in answer.text
        restored = service.client.post(f"/trash/{trash_id}/restore", params={"as": name})
        assert restored.status_code in {409, 422, 404}, (name, restored.text)
    assert service.client.post(f"/trash/{trash_id}/restore").status_code == 200
    assert service.client.get("/models/model.gguf").status_code == 200
    assert (tmp_path / "secret/model.gguf").read_text() == SECRET
    assert warnings_of(service) == expected
    assert service.engine()["state"] == "ready"


def test_a_pipe_is_a_warning_until_a_file_replaces_it(service: RunningService) -> None:
    """A new pipe becomes a warning within a second; a file that replaces the pipe is a model."""
    os.mkfifo(service.models_dir / "pipe")
    eventually(lambda: warnings_of(service) == {"pipe": "a named pipe"})

    (service.models_dir / "pipe").unlink()
    (service.models_dir / "pipe").write_text("a model")

    eventually(lambda: names_of(service) == {"pipe"} and not warnings_of(service))


def test_a_name_in_any_script_works_everywhere(service: RunningService) -> None:
    """Models with unusual names can be uploaded, listed, audited, deleted and restored under exactly these names."""
    for name in NAMES:
        put = service.client.put(f"/models/{quote(name, safe='')}", content=name.encode())
        assert put.status_code == 201, (name, put.text)
        assert put.headers["location"].isascii()
        assert service.client.get(put.headers["location"]).raise_for_status().json()["name"] == name

    assert {os.fsdecode(path.name) for path in service.models_dir.iterdir()} - {".store"} == set(NAMES)
    assert names_of(service) == set(NAMES)
    for name in NAMES:
        assert (service.models_dir / name).read_bytes() == name.encode()
        path = service.client.get("/models/path", params={"name": name}).raise_for_status().json()["path"]
        assert path == f"{service.models_dir}/{name}"
    lines = service.client.get("/audit", headers={"accept": "text/plain"}).raise_for_status().text.splitlines()
    audited = [line.removeprefix(f"CURRENT: {service.models_dir}/").partition("  (looks like ")[0] for line in lines]
    assert sorted(audited) == sorted(NAMES)
    assert {finding["name"] for finding in service.client.get("/audit").json()["models"]} == set(NAMES)
    receipts = [service.client.delete(f"/models/{quote(name)}").raise_for_status().json() for name in NAMES]
    assert [receipt["name"] for receipt in receipts] == list(NAMES)
    assert {entry["name"] for entry in service.client.get("/trash").json()["entries"]} == set(NAMES)
    for receipt in receipts:
        restored = service.client.post(f"/trash/{receipt['trash_id']}/restore").raise_for_status().json()
        assert (service.models_dir / restored["name"]).read_bytes() == receipt["name"].encode()
    journal = service.client.get("/journal", params={"limit": 3 * len(NAMES)}).json()["events"]
    assert [event["name"] for event in reversed(journal)] == [*NAMES, *NAMES, *NAMES]


def test_names_that_look_the_same_are_two_models(service: RunningService) -> None:
    """Two names that differ only in Unicode normalisation are two models, and a deletion removes the named one."""
    composed, decomposed = unicodedata.normalize("NFC", "café.bin"), unicodedata.normalize("NFD", "café.bin")
    for name in (composed, decomposed):
        service.client.put(f"/models/{quote(name)}", content=name.encode()).raise_for_status()

    service.client.delete(f"/models/{quote(decomposed)}").raise_for_status()

    assert names_of(service) == {composed}
    assert (service.models_dir / composed).read_bytes() == composed.encode()


def test_the_command_line_takes_every_name(service: RunningService) -> None:
    """The command line lists and deletes models with any names; after `--` also names that begin with a dash."""
    for name in NAMES:
        (service.models_dir / name).write_text(name)

    table = command_line(service.models_dir, "models", "list")
    listed = command_line(service.models_dir, "models", "list", "--json")
    deleted = command_line(service.models_dir, "models", "delete", "--json", "--", *NAMES)

    assert table.returncode == 0
    assert len(table.stdout.splitlines()) == 1 + len(NAMES)
    assert {model["name"] for model in json.loads(listed.stdout)} == set(NAMES)
    assert [receipt["name"] for receipt in json.loads(deleted.stdout)] == list(NAMES)
    assert command_line(service.models_dir, "models", "list").stdout == ""


def test_names_beyond_the_limits_are_refused_or_warnings(serve: Serve) -> None:
    """Names of up to 255 bytes a part and 1,024 in total are models; longer ones are refused, or listed as warnings."""
    service = serve(engine_class=ECHO)
    longest = (LONGEST, LONGEST_PART, LONGEST_PARTS_IN_BYTES)
    for name in longest:
        assert service.client.put(f"/models/{quote(name)}", content=b"x").status_code == 201
    too_long = (LONGEST + "f", LONGEST_PART + "x", LONGEST_PARTS_IN_BYTES + "x", "y/" * 512 + "z")
    for name in too_long:
        assert service.client.put(f"/models/{quote(name)}", content=b"x").status_code == 422
        assert service.client.get("/models/path", params={"name": name}).status_code == 422
    make_deeper_than_any_path(service.models_dir)

    assert eventually(lambda: [r for r in warnings_of(service).values() if r == "it is longer than 1024 bytes"])
    assert names_of(service) == set(longest)
    for name in longest:
        receipt = service.client.delete(f"/models/{quote(name)}").raise_for_status().json()
        assert service.client.post(f"/trash/{receipt['trash_id']}/restore").json()["name"] == name


def make_deeper_than_any_path(folder: Path) -> None:
    """Create 30 nested folders whose path is longer than PATH_MAX, with a file in the last."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=descriptor)
        deeper = os.open("n" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    os.close(os.open("deepest.bin", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)


def test_names_with_control_characters_are_warnings(serve: Serve, tmp_path: Path) -> None:
    """Files whose names are not UTF-8 or hold control characters are warnings, and requests for them are refused."""
    models = tmp_path / "models"
    models.mkdir()
    for name in NO_MODELS:
        (models / name).write_text(name)
    for raw in NO_TEXT:
        with open(os.path.join(os.fsencode(models), raw), "wb"):  # noqa: PTH118, PTH123 - bytes are no Path
            pass
    os.mkdir(os.fsencode(models) + b"/folder \xff")  # noqa: PTH102
    service = serve(engine_class=ECHO)

    warnings = warnings_of(service)

    assert {path for path, reason in warnings.items() if "UTF-8" in reason} == {*NO_TEXT.values(), "folder \\xff"}
    assert {path: reason for path, reason in warnings.items() if "UTF-8" not in reason} == NO_MODELS
    assert names_of(service) == set()
    for raw in NO_TEXT:
        for method in ("GET", "DELETE", "PUT"):
            status, answer = raw_request(service, method, f"/models/{quote(raw)}")
            assert status in {400, 404, 422}, (method, raw, answer)
    for name in NO_MODELS:
        assert service.client.delete(f"/models/{quote(name, safe='')}").status_code in {404, 422}
        assert (models / name).read_bytes() == name.encode()
    listed = command_line(service.models_dir, "models", "list")
    assert (listed.returncode, listed.stdout) == (0, "")
    assert listed.stderr.count("not listed: ") == len(warnings)
    assert "\x1b" not in listed.stderr


def test_a_name_that_is_not_utf_8_does_not_stop_the_watcher(serve: Serve) -> None:
    """After a name that is not UTF-8 the service still shows every change, and still by inotify."""
    service = serve(engine_class=ECHO)
    for number, raw in enumerate(NO_TEXT):
        with open(os.path.join(os.fsencode(service.models_dir), raw), "wb"):  # noqa: PTH118, PTH123
            pass
        (service.models_dir / f"{number}.bin").touch()
        eventually(lambda: f"{number}.bin" in names_of(service) and NO_TEXT[raw] in warnings_of(service))  # noqa: B023
        (service.models_dir / f"{number}.bin").unlink()
        eventually(lambda: names_of(service) == set())

    assert "store.watch_failed" not in service.log
    assert service.client.get("/livez").status_code == 200


def test_deleting_a_hard_link_keeps_the_other_name(service: RunningService, tmp_path: Path) -> None:
    """Deleting a model that has a hard link outside keeps the other name, and frees no bytes."""
    (tmp_path / "outside.bin").write_bytes(b"x" * 10_000)
    (service.models_dir / "linked.bin").hardlink_to(tmp_path / "outside.bin")

    receipt = service.client.delete("/models/linked.bin?permanent=true").raise_for_status().json()

    assert (receipt["size_bytes"], receipt["freed_bytes"]) == (10_000, 0)
    assert (tmp_path / "outside.bin").read_bytes() == b"x" * 10_000


def test_a_model_folder_that_is_a_link_to_itself_stops_the_start(tmp_path: Path) -> None:
    """A model folder that is a symbolic link to itself ends the start with status 2 and names OCR_MODELS_DIR."""
    (tmp_path / "loop").symlink_to("loop")

    ended = command_line(tmp_path / "loop", "serve")

    assert ended.returncode == 2
    assert f"OCR_MODELS_DIR={tmp_path}/loop" in ended.stderr
    assert "Traceback" not in ended.stderr
