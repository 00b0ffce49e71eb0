"""Commands at a URL where something answers that is no service, or means harm."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.api import examples
from app.api.examples.jobs import JOB
from app.api.models.schemas import ModelListOut
from app.cli.backends import service_client
from app.cli.backends.service_client import NoService, ServiceClient
from app.cli.main import main
from app.cli.tables import facts
from tests.support.defects.endless import endless_server
from tests.support.fork_server import run_command


@contextmanager
def server_of(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """Serve a status and a body for each path, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path.partition("?")[0]]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_DELETE = do_PUT = do_POST = do_GET  # noqa: N815 - the names that the base class looks for

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command through the server at a URL."""
    return run_command([*arguments, "--url", url], os.environ)


@pytest.mark.parametrize("status", [200, 500])
def test_deeply_nested_json_is_no_answer_of_a_service(status: int) -> None:
    """Lists within lists, as deep as no parser follows, end the command with a sentence."""
    with server_of({"/models": (status, b"[" * 100_000)}) as url:
        ended = ask(url, "models", "list")

    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "is no OCR model service" in ended.stderr


@pytest.mark.parametrize("blockers", ["abc", 5, [1], {"a": 1}])
def test_blockers_that_are_none_are_left_out(blockers: object) -> None:
    """A problem whose blockers are of another type is printed without them."""
    problem = {"type": "urn:ocr-model-service:problem:model-locked", "detail": "It is used.", "blockers": blockers}
    with server_of({"/models/a": (409, json.dumps(problem).encode())}) as url:
        ended = ask(url, "models", "delete", "a")

    assert (ended.returncode, ended.stderr) == (1, "It is used.\n")


def test_an_endless_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer larger than any of a service is not read further."""
    monkeypatch.setattr(service_client, "MAX_ANSWER_BYTES", 1 << 20)
    with endless_server() as server:
        with pytest.raises(NoService, match="more than 1,048,576 bytes"):
            ServiceClient(server.url, None).get("/models", ModelListOut)
        assert server.sent_bytes < 64 << 20  # the limit and the buffers of the connection


@pytest.mark.parametrize("content", [b"12", b"1234"])
def test_a_download_of_another_size_writes_nothing(content: bytes, tmp_path: Path) -> None:
    """A model without a digest must have as many bytes as the service says; none after those are taken."""
    model = json.dumps({"name": "a", "size_bytes": 3, "sha256": None}).encode()
    with server_of({"/models/a": (200, model), "/models/a/content": (200, content)}) as url:
        ended = ask(url, "models", "download", "a", "--output", str(tmp_path / "a"))

    assert (ended.returncode, list(tmp_path.iterdir())) == (1, []), ended.stderr
    assert "nothing was written" in ended.stderr


def test_lone_surrogates_are_printed_as_escapes() -> None:
    """JSON may have half a surrogate pair, which no encoding of a terminal has."""
    with server_of({"/models/path": (200, rb'{"path": "/a\ud800"}')}) as url:
        ended = ask(url, "models", "path")

    assert (ended.returncode, ended.stdout) == (0, "/a\\ud800\n"), ended.stderr


def test_the_names_of_members_are_escaped() -> None:
    """Names of members come from the server, as values do, and could move the cursor."""
    printed = "\n".join(facts({"a\x1b[2J": 1, "b": [{"c\x1b[2J": 2}]}))

    assert "\x1b" not in printed
    assert "a\\x1b[2J" in printed
    assert "c\\x1b[2J 2" in printed


ANSWERS = {
    "models list": ("/models", "ModelListOut"),
    "models show a": ("/models/a", "ModelDetailOut"),
    "models path": ("/models/path", "PathOut"),
    "models delete a": ("/models/a", "ReceiptOut"),
    "models protect a --reason b": ("/models/a/protection", "ProtectionStateOut"),
    "models audit": ("/audit", "AuditOut"),
    "models prune": ("/prune", "PruneOut"),
    "trash list": ("/trash", "TrashListOut"),
    "trash empty --yes": ("/trash", "TrashListOut"),
    "journal": ("/journal", "JournalOut"),
    "storage": ("/storage", "StorageOut"),
    "pulls list": ("/pulls", "JobListOut"),
    "resources": ("/resources", "ResourceListOut"),
    "engine show": ("/engine", "EngineOut"),
    "engine release": ("/engine/release", "ReleaseOut"),
}
"""By command: the path that it asks, and the schema of the answer."""
WRONG: tuple[object, ...] = (5, "x", [1], {"a": 1}, None, True, 10**400, [[]], [None])


@pytest.mark.parametrize("command", ANSWERS)
def test_members_of_another_type_end_the_command_with_a_sentence(command: str) -> None:
    """Whatever a member of an answer is, the command prints it or says that no such service is known."""
    path, schema = ANSWERS[command]
    answer = examples.BY_SCHEMA[schema]
    bodies = {path: (200, b"")}
    refused = 0
    with server_of(bodies) as url:
        for number, name in enumerate(answer):
            for wrong in (WRONG[number % len(WRONG)], WRONG[(number + 3) % len(WRONG)]):
                bodies[path] = (200, json.dumps(answer | {name: wrong}).encode())
                ended = CliRunner().invoke(main, [*command.split(), "--url", url])
                assert ended.exception is None or isinstance(ended.exception, SystemExit), (
                    name,
                    wrong,
                    ended.exception,
                )
                assert ended.exit_code in {0, 1, 3}, (name, wrong, ended.output)
                refused += "that this command knows" in ended.output
        bodies[path] = (200, json.dumps(answer | {"member_of_a_later_version": 1}).encode())
        known = CliRunner().invoke(main, [*command.split(), "--url", url])
    assert refused, "no wrong member was refused"
    assert "that this command knows" not in known.output


@pytest.mark.parametrize("result", [{"models": 5}, {"models": [1]}, {}])
def test_a_pull_with_another_result_ends_with_a_sentence(result: dict[str, object]) -> None:
    """The result of a pull that is none ends the command, which says that the change may have been made."""
    job = JOB | {"state": "succeeded", "result": result}
    with server_of({"/pulls": (202, json.dumps(job).encode())}) as url:
        ended = CliRunner().invoke(main, ["models", "pull", "org/repo", "file", "--url", url])
    assert (ended.exit_code, type(ended.exception)) == (1, SystemExit), ended.exception
    assert "is no OCR model service that this command knows" in ended.output
