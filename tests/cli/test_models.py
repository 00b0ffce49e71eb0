"""The commands on models and the trash, run as processes of their own, also beside a running service."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.store.locks.model_locks import ModelLocks
from tests.conftest import Serve
from tests.store.integrity.test_verification import corrupt_on_disk
from tests.support.fork_server import run_command
from tests.support.held_jobs import store_on
from tests.support.service import ECHO, ROOT
from tests.support.waiting import eventually

ENDED_BY_A_SIGNAL = """
import os, sys
import click
from app.cli.console import printed_at_the_end

@click.command()
@click.argument("number", type=int)
def main(number):
    with printed_at_the_end(is_json=True) as rows:
        rows.append(1)
        os.kill(os.getpid(), number)
        rows.append(2)

main()
"""
"""The code of a command that sends itself a signal after it has done one of two things."""


def run(models_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line on a model folder and return its exit status and output."""
    return run_command(arguments, os.environ | {"OCR_MODELS_DIR": str(models_dir)} | settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model folder with four models and a symbolic link."""
    models_dir = tmp_path / "models"
    models_dir.mkdir()
    for name in ("en_v1.bin", "en_v2.bin", "old_de.bin", "keep_old.bin"):
        (models_dir / name).write_bytes(b"12345")
    (models_dir / "link").symlink_to("en_v1.bin")
    return models_dir


def test_json_has_the_chosen_columns(folder: Path) -> None:
    """With --json, `--columns` chooses the members of each model."""
    rows = json.loads(run(folder, "models", "list", "--json", "--columns", "name,size", "--name", "old_*").stdout)

    assert rows == [{"name": "old_de.bin", "size_bytes": 5}]


def test_models_are_listed_as_a_table_and_as_json(folder: Path) -> None:
    """`models list` prints a table, or JSON with --json; files that are not listed are named on stderr."""
    table = run(folder, "models", "list", OCR_PROTECTED="keep_*")
    rows = json.loads(run(folder, "models", "list", "--json", OCR_PROTECTED="keep_*").stdout)

    assert table.stdout.splitlines()[0].split() == [
        "name",
        "size",
        "modified_at",
        "status",
        "protected",
        "in_use",
    ]
    assert table.stdout.splitlines()[3].split()[::5] == ["keep_old.bin", "yes"]
    assert table.stderr == "not listed: link: a symbolic link\n"
    assert {row["name"]: row["status"] for row in rows}["old_de.bin"] == "old"


def test_a_damaged_record_is_told_in_words(folder: Path) -> None:
    """A list names damaged records on stderr with what to do, and the rest of the list is whole."""
    run(folder, "models", "delete", "en_v1.bin")
    record = next((folder / ".store/trash").glob("*.json"))
    record.write_bytes(b"{")

    listed = run(folder, "trash", "list", "--json")

    assert [entry["name"] for entry in json.loads(listed.stdout)] == [f"unknown-{record.stem}"]
    assert listed.stderr.startswith(f"damaged record: .store/trash/{record.name}: ")
    assert listed.stderr.endswith("Repair or remove it; everything else works\n")


def test_paths_are_absolute(folder: Path) -> None:
    """`models path` prints the absolute path of the folder or of one model."""
    assert run(folder, "models", "path").stdout == f"{folder}\n"
    assert run(folder, "models", "path", "en_v1.bin").stdout == f"{folder}/en_v1.bin\n"


def test_deleting_and_restoring(folder: Path) -> None:
    """A deleted model can be restored under another name; `trash empty` deletes it for good."""
    assert run(folder, "models", "delete", "en_v1.bin", "--dry-run").returncode == 0
    assert (folder / "en_v1.bin").exists()

    (receipt,) = json.loads(run(folder, "models", "delete", "en_v1.bin", "--json").stdout)
    (entry,) = json.loads(run(folder, "trash", "list", "--json").stdout)
    assert entry["id"] == receipt["trash_id"]
    assert run(folder, "trash", "restore", entry["id"], "--as", "back.bin").stdout == "back.bin\n"
    assert (folder / "back.bin").read_bytes() == b"12345"

    run(folder, "models", "delete", "back.bin")
    shown = run(folder, "trash", "empty")
    assert ("back.bin" in shown.stdout, "1 entries, 5 B; nothing was deleted" in shown.stderr) == (True, True)
    assert "back.bin" in run(folder, "trash", "empty", "--yes").stdout
    assert run(folder, "trash", "list").stdout == ""


def test_what_was_done_is_printed_whatever_follows(folder: Path) -> None:
    """A deletion that is refused after others exits with 3, prints their trash ids, and names who uses the model."""
    with store_on(folder).lease("old_de.bin", kind="command", holder="backup"):
        done = run(folder, "models", "delete", "en_v1.bin", "old_de.bin", "en_v2.bin", "--json")

    deleted, refused = json.loads(done.stdout)
    assert (done.returncode, deleted["outcome"], refused["outcome"]) == (3, "trashed", "refused")
    (entry,) = json.loads(run(folder, "trash", "list", "--json").stdout)
    assert (deleted["trash_id"], deleted["expires_at"]) == (entry["id"], entry["expires_at"])
    assert [blocker["pid"] for blocker in refused["blockers"]] == [os.getpid()]
    assert str(os.getpid()) in done.stderr
    assert (folder / "en_v2.bin").exists()
    nothing_done = run(folder, "models", "delete", "missing.bin", "en_v2.bin", "--json")
    assert (nothing_done.returncode, [row["outcome"] for row in json.loads(nothing_done.stdout)]) == (1, ["refused"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_what_was_done_before_a_signal_is_printed(folder: Path, number: signal.Signals, status: int) -> None:
    """A command that a signal ends prints what it has done."""
    ended = subprocess.run(
        [sys.executable, "-c", ENDED_BY_A_SIGNAL, str(int(number))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, json.loads(ended.stdout)) == (status, [1])


def test_a_read_only_setting_holds_for_commands(folder: Path) -> None:
    """With OCR_READ_ONLY, commands that change something are refused; lists and dry runs work."""
    (entry,) = json.loads(run(folder, "models", "delete", "en_v1.bin", "--json").stdout)
    changes: tuple[tuple[str, ...], ...] = (
        ("models", "delete", "en_v2.bin"),
        ("models", "prune", "--yes"),
        ("models", "protect", "en_v2.bin", "--reason", "x"),
        ("models", "unprotect", "en_v2.bin"),
        ("models", "verify", "--all"),
        ("models", "pull", "org/repo", "a.gguf"),
        ("trash", "restore", entry["trash_id"]),
        ("trash", "empty", "--yes"),
    )
    for arguments in changes:
        refused = run(folder, *arguments, OCR_READ_ONLY="true")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "OCR_READ_ONLY" in refused.stderr

    for arguments in (("models", "list"), ("models", "delete", "en_v2.bin", "--dry-run"), ("models", "prune")):
        assert run(folder, *arguments, OCR_READ_ONLY="true").returncode == 0
    assert (folder / "en_v2.bin").exists()


def test_every_command_reports_a_wrong_setting_alike(folder: Path) -> None:
    """Every command that reads settings exits with 2 and names the variable, without a traceback."""
    commands = (
        ("openapi",),
        ("provision",),
        ("serve",),
        ("models", "list"),
        ("models", "delete", "en_v1.bin"),
        ("models", "lease", "en_v1.bin", "true"),
        ("trash", "list"),
    )
    for arguments in commands:
        refused = run(folder, *arguments, OCR_PORT="abc")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "OCR_PORT" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_leased_command_may_have_options(folder: Path) -> None:
    """`models lease NAME sh -c ...` needs no `--`, and accepts one."""
    for separator in ((), ("--",)):
        leased = run(
            folder, "models", "lease", "en_v1.bin", *separator, "sh", "-c", "echo $0 $1; exit 7", "--help", "-x"
        )
        assert (leased.returncode, leased.stdout) == (7, "--help -x\n")


def test_errors_are_one_line_and_an_exit_status(folder: Path, tmp_path: Path) -> None:
    """A refusal is one line on stderr and exit status 1, a wrong setting 2; a missing folder is not created."""
    for arguments in (("models", "delete", "missing.bin"), ("models", "path", "../x"), ("trash", "restore", "nope")):
        refused = run(folder, *arguments)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert len(refused.stderr.splitlines()) == 1

    assert run(folder, "models", "list", OCR_TRASH_RETENTION="soon").returncode == 2
    assert run(tmp_path / "missing", "models", "list").returncode == 1
    assert not (tmp_path / "missing").exists()


def test_prune_lists_first_and_reports_what_stayed(folder: Path) -> None:
    """`prune` only lists without --yes; with --yes it exits with 3 if a model in use stayed."""
    assert [row["name"] for row in json.loads(run(folder, "models", "prune", "--json").stdout)] == ["old_de.bin"]
    command = ("models", "prune", "--include", "superseded", "--json")
    shown = run(folder, *command, OCR_PROTECTED="keep_*")
    assert [row["name"] for row in json.loads(shown.stdout)] == ["en_v1.bin", "old_de.bin"]
    assert "2 models, 10 B; nothing was deleted" in shown.stderr

    with ModelLocks(folder / ".store/locks/models").lease("old_de.bin"):
        pruned = run(folder, *command, "--yes", OCR_PROTECTED="keep_*")

    assert pruned.returncode == 3
    assert [row["outcome"] for row in json.loads(pruned.stdout)] == ["trashed", "stayed"]
    assert run(folder, "models", "audit", OCR_PROTECTED="keep_*").stdout.count("old ") >= 1


def test_protecting_and_unprotecting(folder: Path) -> None:
    """A protected model is listed as protected and not deleted, until `unprotect`; OCR_PROTECTED stays in force."""
    assert run(folder, "models", "protect", "old_de.bin", "--reason", "still needed").returncode == 0

    refused = run(folder, "models", "delete", "old_de.bin")
    assert (refused.returncode, "still needed" in refused.stderr) == (1, True)
    rows = json.loads(run(folder, "models", "list", "--json").stdout)
    assert [row["name"] for row in rows if row["protected"]] == ["old_de.bin"]
    (old,) = [row for row in json.loads(run(folder, "models", "audit", "--json").stdout) if row["protected_by"]]
    assert old["protected_by"] == "still needed"

    assert run(folder, "models", "unprotect", "old_de.bin", OCR_PROTECTED="old_*").returncode == 1
    assert run(folder, "models", "unprotect", "old_de.bin").returncode == 0
    assert run(folder, "models", "delete", "old_de.bin").returncode == 0


def test_verifying(folder: Path) -> None:
    """`verify` exits with 3 if a model is corrupt; `audit` shows it, and `prune --reason corrupt` deletes it."""
    first = json.loads(run(folder, "models", "verify", "--all", "--json").stdout)
    assert {row["outcome"] for row in first} == {"unrecorded"}
    corrupt_on_disk(folder / "en_v2.bin")

    found = run(folder, "models", "verify", "en_v1.bin", "en_v2.bin", "--json")

    assert [row["outcome"] for row in json.loads(found.stdout)] == ["intact", "corrupt"]
    assert (found.returncode, found.stderr) == (3, "")
    assert run(folder, "models", "verify").returncode == 2
    rows = json.loads(run(folder, "models", "audit", "--json").stdout)
    assert [row["name"] for row in rows if row["corrupt"]] == ["en_v2.bin"]
    run(folder, "models", "prune", "--reason", "corrupt", "--yes")
    assert not (folder / "en_v2.bin").exists()
    assert (folder / "en_v1.bin").exists()


def test_a_running_service_shows_a_deletion_by_a_command(serve: Serve) -> None:
    """A running service shows a command's deletion soon, and the journal names its user."""
    service = serve(engine_class=ECHO)
    (service.models_dir / "a.bin").touch()
    eventually(lambda: service.client.get("/models").json()["count"] == 1)

    run(service.models_dir, "models", "delete", "a.bin")

    eventually(lambda: service.client.get("/models").json()["count"] == 0, within=60)
    (event,) = service.client.get("/journal").json()["events"]
    assert (event["action"], event["actor"][:4]) == ("trashed", "cli:")


def test_a_table_escapes_what_a_terminal_obeys(folder: Path) -> None:
    """A name with control characters or marks of direction cannot change what the terminal shows."""
    (folder / "a\u202eb\u2066.bin").touch()
    (folder / "c\x1b[2J.bin").touch()

    listed = run(folder, "models", "list")
    deleted = run(folder, "models", "delete", "c\x1b[2J.bin")

    told = listed.stdout + listed.stderr + deleted.stdout + deleted.stderr
    assert r"a\u202eb\u2066.bin" in told
    assert not set(told) & set("\x1b\u202e\u2066")


@pytest.mark.parametrize(("reason", "says"), [(" ", "not blanks alone"), ("x" * 501, "at most 500 characters")])
def test_a_reason_that_the_api_refuses_is_refused(folder: Path, reason: str, says: str) -> None:
    """`models protect` has the rules of `PUT /models/{name}/protection` for the reason."""
    refused = run(folder, "models", "protect", "en_v1.bin", "--reason", reason)

    assert refused.returncode == 2
    assert says in " ".join(refused.stderr.split())


def test_bytes_that_are_no_unicode_are_recorded_in_escaped_form(folder: Path) -> None:
    r"""A reason and a user with bytes that are not UTF-8 leave readable records: a byte is written as `\\xff`."""
    byte = os.fsdecode(b"\xff")
    run(folder, "models", "protect", "en_v1.bin", "--reason", f"a{byte}b", LOGNAME=f"me{byte}")
    run(folder, "models", "delete", "en_v2.bin", LOGNAME=f"me{byte}")
    (row,) = [row for row in json.loads(run(folder, "models", "audit", "--json").stdout) if row["name"] == "en_v1.bin"]
    lines = (folder / ".store/journal.jsonl").read_text().splitlines()

    assert row["protected_by"] == r"a\xffb"
    assert {json.loads(line)["actor"] for line in lines} == {r"cli:me\xff"}


def test_a_lease_of_a_command_that_is_no_unicode_names_its_holder(folder: Path, tmp_path: Path) -> None:
    """A refused deletion names the command that holds the lease, also if its name is not UTF-8."""
    command: list[str | bytes] = [
        sys.executable,
        "-m",
        "app",
        "models",
        "lease",
        "en_v1.bin",
        "sh",
        "-c",
        "echo; read line",
        b"\xff",
    ]
    environment = os.environ | {"OCR_MODELS_DIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        refused = run(folder, "models", "delete", "en_v1.bin")
        holder.communicate(b"\n")

    assert r"read line \\xff" in refused.stderr


@pytest.mark.parametrize("arguments", [("models", "list"), ("models", "delete", "en_v1.bin"), ("models", "path")])
def test_an_output_that_cannot_be_written_is_no_error_of_the_model_folder(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    """With stdout on a full disk a command exits with 1 and says that only the output is lost."""
    with Path("/dev/full").open("w") as full:
        command = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=ROOT,
            env=os.environ | {"OCR_MODELS_DIR": str(folder)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )

    assert command.returncode == 1
    assert "Only the output is lost" in command.stderr
    assert "Nothing was changed" not in command.stderr
    assert "Exception" not in command.stderr
