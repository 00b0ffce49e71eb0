"""The same commands on the folder of this machine and through a running service, and what they print in both cases."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.cli.main import main
from tests.cli.test_models import run
from tests.conftest import Serve
from tests.support.fork_server import run_command
from tests.support.service import ECHO, RunningService

Commands = Callable[..., subprocess.CompletedProcess[str]]
PROTECTED = {"OCR_PROTECTED": "keep_*"}
WRITTEN_NS = 1_790_000_000 * 10**9


def through(service: RunningService, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command through a service, with no settings of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
    return run_command(arguments, clean | {"OCR_URL": service.url} | environment)


def fill(folder: Path) -> None:
    """Write the same models, with the same times, into an empty folder."""
    folder.mkdir(exist_ok=True)
    for name, size in (
        ("en_v1.bin", 1500),
        ("en_v2.bin", 700),
        ("old_de.bin", 5),
        ("keep_old.bin", 5),
        ("a/b c.bin", 9),
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, ns=(WRITTEN_NS, WRITTEN_NS))
    (folder / "link").symlink_to("en_v1.bin")


@pytest.fixture
def both(serve: Serve, tmp_path: Path) -> tuple[Commands, Commands]:
    """Return two ways to run a command: on a folder, and through a service on another folder with the same models.

    The service is a new one, since a shared one would have the journal and the jobs of other tests.
    """
    service = serve(engine_class=ECHO, protected="keep_*")
    folder = tmp_path / "here" / "models"
    folder.parent.mkdir()
    fill(folder)
    fill(service.models_dir)

    def here(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(folder, *arguments, OCR_STATE_DIR=str(service.state_dir), **PROTECTED)

    def there(*arguments: str) -> subprocess.CompletedProcess[str]:
        return through(service, *arguments)

    return here, there


def same(text: str) -> str:
    """Return an output without what differs between two folders: their paths, new ids and times, names of users."""
    text = re.sub(r"/\S+/models\b", "FOLDER", text)
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{12}", "ID", text)
    text = re.sub(
        r"20\d\d-\d\d-\d\dT[\d:.]+Z", lambda found: found[0] if found[0].startswith("2026-09-21") else "TIME", text
    )
    text = re.sub(r'"(seconds|bytes_per_second|free_bytes|etag)": [^\n]+', r'"\1": N', text)
    text = re.sub(r'"recognised": (true|false)', '"recognised": null', text)
    text = re.sub(r"(recognised +)(yes|no|-)$", r"\1-", text, flags=re.MULTILINE)
    return re.sub(r" {2,}", "  ", re.sub(r"cli:\w+|anonymous", "USER", text))


READS = [
    ("models", "list", "--json"),
    ("models", "list", "--status", "old", "--sort", "-size_bytes", "--columns", "name,size,format,path"),
    ("models", "list", "--min-size", "1kB", "--unprotected"),
    ("models", "list", "--name", "en_*", "--limit", "1", "--format", "unknown"),
    ("models", "show", "a/b c.bin"),
    ("models", "show", "keep_old.bin", "--json"),
    ("models", "show", "../x"),
    ("models", "path"),
    ("models", "path", "en_v1.bin", "--json"),
    ("models", "audit", "--json"),
    ("models", "prune", "--include", "superseded"),
    ("models", "delete", "en_v1.bin", "--dry-run", "--json"),
    ("models", "delete", "keep_old.bin"),
    ("trash", "empty"),
    ("trash", "restore", "nope"),
    ("jobs", "cancel", "nope"),
]


def test_questions_are_answered_alike(both: tuple[Commands, Commands]) -> None:
    """Each command that changes nothing prints the same and exits alike, on the folder and through a service."""
    here, there = both
    for arguments in READS:
        first, second = here(*arguments), there(*arguments)
        assert same(second.stdout) == same(first.stdout), arguments
        assert (second.returncode, same(second.stderr)) == (first.returncode, same(first.stderr)), arguments
        assert "Traceback" not in first.stderr


def test_changes_are_made_and_told_alike(both: tuple[Commands, Commands], tmp_path: Path) -> None:
    """A day's work on models and the trash has the same output in both cases."""
    (tmp_path / "new.bin").write_bytes(b"y" * 3000)

    def work(command: Commands) -> list[tuple[int, str, str]]:
        done = []

        def do(*arguments: str) -> str:
            made = command(*arguments)
            done.append((made.returncode, same(made.stdout), same(made.stderr)))
            return made.stdout

        upload = ("models", "upload", str(tmp_path / "new.bin"))
        do(*upload)
        do(*upload)
        do(*upload, "--if-exists", "keep")
        do(*upload, "--if-exists", "replace", "--json")
        do(*upload, "--name", "x/y.bin", "--sha256", "00" * 32)
        do("models", "protect", "en_v1.bin", "--reason", "still needed", "--json")
        do("models", "delete", "en_v2.bin", "en_v1.bin")
        do("models", "unprotect", "en_v1.bin")
        do("models", "verify", "--all")
        do("models", "prune", "--yes", "--json")
        trashed = json.loads(do("trash", "list", "--json"))
        shortest = trashed[-1]["id"].rpartition("-")[2]
        do("trash", "restore", shortest, "--as", "back.bin")
        do("trash", "restore", "2")
        do("trash", "purge", trashed[0]["id"], "--yes")
        do("trash", "empty", "--yes")
        do("models", "list")
        do("journal")
        do("pulls", "list")
        return done

    here, there = both
    first, second = work(here), work(there)

    for here_done, there_done in zip(first, second, strict=True):
        assert there_done == here_done
    assert [status for status, *_ in first] == [0, 1, 0, 0, 1, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_a_model_is_downloaded_alike(both: tuple[Commands, Commands], tmp_path: Path) -> None:
    """`models download` writes the same file; an existing file stays, and a missing model leaves no file."""
    for number, command in enumerate(both):
        file = tmp_path / f"{number}.bin"
        done = json.loads(command("models", "download", "en_v1.bin", "--output", str(file), "--json").stdout)
        assert (file.read_bytes(), done[0]["size_bytes"]) == (b"x" * 1500, 1500)
        again = command("models", "download", "en_v2.bin", "--output", str(file))
        missing = command("models", "download", "nope.bin", "--output", str(tmp_path / "nope"))
        assert (again.returncode, missing.returncode, file.stat().st_size) == (2, 1, 1500)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["0.bin", "1.bin"]


def test_a_name_never_leads_to_another_resource(service: RunningService) -> None:
    """A name with `..`, which HTTP clients resolve, is refused before a request is sent: it empties no trash."""
    (service.models_dir / "a.bin").write_bytes(b"1")
    service.client.delete("/models/a.bin").raise_for_status()

    for name in ("../trash", "x/../../trash", "./../trash", ""):
        refused = through(service, "models", "delete", name)
        assert (refused.returncode, "cannot be used" in refused.stderr) == (1, True), refused.stderr

    assert service.client.get("/trash").json()["count"] == 1


def test_the_options_choose_the_service_before_the_command_and_after_it(
    service: RunningService, tmp_path: Path
) -> None:
    """`--url` may stand before or after the command, and takes precedence over OCR_URL."""
    (service.models_dir / "a.bin").write_bytes(b"1")
    for arguments in (("--url", service.url, "models", "path"), ("models", "path", "--url", service.url + "/")):
        found = run(tmp_path / "missing", *arguments, OCR_URL="http://127.0.0.1:1")
        assert (found.returncode, found.stdout) == (0, f"{service.models_dir}\n")


def test_a_service_that_is_away_is_named(tmp_path: Path, serve: Serve) -> None:
    """Without a service at the URL, or with another server there, the error names the URL and what to do."""
    away = run_command(["models", "list", "--url", "http://127.0.0.1:1"], os.environ)
    wrong = run_command(["models", "list", "--url", "127.0.0.1"], os.environ)

    assert (away.returncode, away.stdout) == (1, "")
    assert "No service answers at http://127.0.0.1:1" in away.stderr
    assert "ocr-models serve" in away.stderr
    assert (wrong.returncode, "http://127.0.0.1:8000" in wrong.stderr) == (2, True)


class OtherServer(BaseHTTPRequestHandler):
    """A server that is none of ours: it answers a list of models with other JSON, and hangs up at anything else."""

    def do_GET(self) -> None:
        content = b'{"detail": "Not Found"}' if self.path.startswith("/models") else b"<html>"
        self.send_response(200 if self.path != "/trash" else 404)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_DELETE(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None: ...


def test_another_server_is_told_from_a_service() -> None:
    """Other JSON, no JSON and a connection that ends are told in a sentence; a change may then have been made."""
    with ThreadingHTTPServer(("127.0.0.1", 0), OtherServer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"

        def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
            return run_command([*arguments, "--url", url], os.environ)

        other_json, html, refused = ask("models", "list"), ask("storage"), ask("trash", "list")
        lost = ask("models", "delete", "a.bin")
        server.shutdown()
        thread.join()

    for each in (other_json, html, refused, lost):
        assert (each.returncode, each.stdout, "Traceback" in each.stderr) == (1, "", False), each.stderr
    assert "has no 'models'" in other_json.stderr
    assert "is no OCR model service" in html.stderr
    assert "answered 404" in refused.stderr
    assert "not known whether the change was made" in lost.stderr


def test_a_key_comes_from_the_environment_or_a_file(serve: Serve, tmp_path: Path) -> None:
    """OCR_KEY and the file of --key-file authorise. Without a key, its scope, or a correct one, stderr says so."""
    made = run_command(["keys", "new", "me", "--scope", "read"], os.environ)
    (tmp_path / "keys.toml").write_text(made.stdout)
    key = made.stderr.split()[-1]
    (tmp_path / "key").write_text(f"{key}\n")
    service = serve(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml")

    assert through(service, "models", "list", OCR_KEY=key).returncode == 0
    assert through(service, "models", "list", "--key-file", str(tmp_path / "key"), OCR_KEY="wrong").returncode == 0
    assert through(service, "models", "list", OCR_KEY_FILE=str(tmp_path / "key")).returncode == 0
    missing, unknown = through(service, "models", "list"), through(service, "models", "list", OCR_KEY="ocr_x")
    scope = through(service, "models", "delete", "a.bin", OCR_KEY=key)
    broken = through(service, "models", "list", OCR_KEY="a b")

    assert [each.returncode for each in (missing, unknown, scope, broken)] == [1, 1, 1, 2]
    assert "OCR_KEY" in missing.stderr
    assert "does not know the API key" in unknown.stderr
    assert "'write'" in scope.stderr
    assert "the API key in OCR_KEY" in broken.stderr
    assert not any(
        option == "--key" for command in main.commands.values() for each in command.params for option in each.opts
    )


def test_a_lease_is_refused_through_a_service(service: RunningService) -> None:
    """`models lease` works on the folder only, and says so."""
    refused = through(service, "models", "lease", "a.bin", "true")

    assert refused.returncode == 2
    assert "OCR_URL" in refused.stderr
