"""API keys, their scopes, and a read-only service."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from app.api.http.auth import Access
from app.api.http.keys import READS, Key, Keyring, KeysError, Scope, StatedScope, entry_for, new_key
from app.api.http.request_errors import ServiceReadOnly
from app.main import create_app
from app.settings import Settings
from tests.conftest import Serve
from tests.support.fork_server import run_command
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

KEYS = {scope: new_key() for scope in Scope}
NEEDS = {
    ("get", "/models"): Scope.READ,
    ("head", "/models"): Scope.READ,
    ("get", "/models/path"): Scope.READ,
    ("get", "/models/{name}"): Scope.READ,
    ("head", "/models/{name}"): Scope.READ,
    ("put", "/models/{name}"): Scope.WRITE,
    ("delete", "/models/{name}"): Scope.WRITE,
    ("options", "/uploads"): None,
    ("get", "/uploads"): Scope.READ,
    ("head", "/uploads"): Scope.READ,
    ("post", "/uploads"): Scope.WRITE,
    ("get", "/uploads/{upload_id}"): Scope.WRITE,
    ("head", "/uploads/{upload_id}"): Scope.WRITE,
    ("patch", "/uploads/{upload_id}"): Scope.WRITE,
    ("delete", "/uploads/{upload_id}"): Scope.WRITE,
    ("post", "/models/{name}/verify"): Scope.WRITE,
    ("get", "/models/{name}/content"): Scope.CONTENT,
    ("head", "/models/{name}/content"): Scope.CONTENT,
    ("put", "/models/{name}/protection"): Scope.WRITE,
    ("delete", "/models/{name}/protection"): Scope.WRITE,
    ("post", "/ocr"): Scope.AI,
    ("get", "/trash"): Scope.READ,
    ("post", "/trash/{trash_id}/restore"): Scope.WRITE,
    ("delete", "/trash/{trash_id}"): Scope.WRITE,
    ("delete", "/trash"): Scope.WRITE,
    ("get", "/journal"): Scope.READ,
    ("post", "/pulls"): Scope.WRITE,
    ("get", "/pulls"): Scope.READ,
    ("get", "/pulls/{job_id}"): Scope.READ,
    ("delete", "/pulls/{job_id}"): Scope.WRITE,
    ("get", "/pulls/{job_id}/events"): Scope.READ,
    ("get", "/audit"): Scope.READ,
    ("post", "/prune"): Scope.WRITE,
    ("get", "/storage"): Scope.READ,
    ("get", "/engine"): Scope.READ,
    ("get", "/engines"): Scope.READ,
    ("get", "/engine/capabilities"): Scope.READ,
    ("get", "/resources"): Scope.READ,
    ("post", "/engine/release"): Scope.ENGINE,
    ("post", "/engine/load"): Scope.ENGINE,
    ("post", "/ai/spell-check"): Scope.AI,
    ("post", "/ai/keywords"): Scope.AI,
    ("post", "/ai/query"): Scope.AI,
    ("post", "/ai/table"): Scope.AI,
    ("post", "/ocr/jobs"): Scope.AI,
    ("get", "/ocr/jobs"): Scope.AI,
    ("get", "/ocr/jobs/{job_id}"): Scope.AI,
    ("delete", "/ocr/jobs/{job_id}"): Scope.AI,
    ("get", "/ocr/jobs/{job_id}/events"): Scope.AI,
    ("get", "/ocr/jobs/{job_id}/results"): Scope.AI,
    ("get", "/ocr/jobs/{job_id}/results/events"): Scope.AI,
    ("get", "/ai/jobs"): Scope.AI,
    ("get", "/ai/jobs/{job_id}"): Scope.AI,
    ("delete", "/ai/jobs/{job_id}"): Scope.AI,
    ("get", "/ai/jobs/{job_id}/events"): Scope.AI,
    ("get", "/ai/jobs/{job_id}/results"): Scope.AI,
    ("get", "/ai/jobs/{job_id}/results/events"): Scope.AI,
    ("get", "/"): None,
    ("get", "/version"): None,
    ("get", "/livez"): None,
    ("get", "/readyz"): None,
    ("get", "/metrics"): Scope.READ,
}
"""The scope of each operation, written by hand so that the scope of a new operation is a decision."""

ENTRY = f'[[keys]]\nname = "x"\nscopes = ["read"]\nsha256 = "{"00" * 32}"\n'
"""A valid entry of a file of keys."""


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with service_with_keys(tmp_path_factory.mktemp("keyed")) as running:
        yield running.wait_until_ready()


def service_with_keys(folder: Path, **settings: Any) -> RunningService:
    """Return a service that has a key for each scope."""
    keys_file = folder / "keys.toml"
    keys_file.write_text("".join(entry_for(scope, [scope], key) for scope, key in KEYS.items()))
    return RunningService(folder, engine_class=ECHO, api_keys_file=keys_file, **settings)


@cache
def operations() -> list[tuple[str, str]]:
    document: dict[str, Any] = create_app(Settings()).openapi()
    return [(method, path) for path, methods in document["paths"].items() for method in methods]


def test_every_operation_has_a_decided_scope() -> None:
    """Every operation of the OpenAPI document is in NEEDS, so a new route fails until its scope is decided here."""
    assert set(operations()) == set(NEEDS)


@pytest.mark.parametrize(("method", "path"), operations(), ids=" ".join)
def test_each_operation_accepts_only_its_scope(keyed: RunningService, method: str, path: str) -> None:
    """Each operation accepts a key with its scope; a key without it gets 403, and no key or a wrong one gets 401."""
    check_scope(keyed, method, path)
    keyed.wait_until_ready()


@pytest.mark.parametrize("is_away", [False, True], ids=["there", "away"])
def test_operations_on_jobs_accept_only_their_scope_with_a_database(
    tmp_path: Path, database: str, *, is_away: bool
) -> None:
    """The same with a queue in a database, also while it is away: who may not create a job does not hear of it."""
    url = re.sub(r":\d+/", ":1/", database) if is_away else database
    with service_with_keys(tmp_path, jobs_url=url) as service:
        service.wait_until_ready()
        for method, path in operations():
            if path.startswith(("/ai", "/ocr", "/pulls", "/engines")):
                check_scope(service, method, path)


def check_scope(service: RunningService, method: str, path: str) -> None:
    """Check which keys an operation accepts."""
    needed = NEEDS[method, path]
    url = path.replace("{name}", "missing.bin").replace("{trash_id}", "missing").replace("{job_id}", "missing")
    callers = {None: {}, "wrong": bearer("ocr_wrong"), "basic": {"authorization": "Basic eDp5"}} | {
        scope: bearer(key) for scope, key in KEYS.items()
    }

    for caller, headers in callers.items():
        answer = service.client.request(method, url, headers=headers)
        if needed is None or caller is needed:
            assert answer.status_code not in {401, 403}, caller
        elif isinstance(caller, Scope):
            assert answer.status_code == 403, caller
            assert method == "head" or answer.json()["scope"] == needed
            assert f'scope="{needed}"' in answer.headers["www-authenticate"]
        else:
            assert answer.status_code == 401, caller
            assert answer.headers["www-authenticate"].startswith("Bearer realm=")
            assert ("invalid_token" in answer.headers["www-authenticate"]) == (caller == "wrong")


@pytest.mark.parametrize("path", [path for method, path in operations() if method == "get"])
def test_head_needs_the_scope_of_get(keyed: RunningService, path: str) -> None:
    """HEAD answers with the status of GET for every key, also where the OpenAPI document does not list HEAD."""
    url = path.replace("{name}", "missing.bin").replace("{job_id}", "missing")
    for headers in ({}, *(bearer(key) for key in KEYS.values())):
        assert keyed.client.head(url, headers=headers).status_code == keyed.client.get(url, headers=headers).status_code


def test_the_docs_page_needs_no_key(keyed: RunningService) -> None:
    """The docs page and the OpenAPI document need no key, because a key is entered on that page."""
    for path in ("/docs", "/docs/swagger-ui.css", "/openapi.json"):
        assert keyed.client.get(path).status_code == 200


def test_the_log_has_the_name_of_a_key_but_not_the_key(keyed: RunningService) -> None:
    """The log names the key of a request and never contains the key itself."""
    keyed.client.get("/models", headers=bearer(KEYS[Scope.READ]))

    eventually(lambda: '"key": "read"' in keyed.log)
    assert KEYS[Scope.READ] not in keyed.log


def test_a_refused_request_is_logged_with_its_key(keyed: RunningService) -> None:
    """The log names the key that lacked the scope of a request."""
    headers = {"authorization": f"Bearer {KEYS[Scope.READ]}", "x-request-id": "refused-1"}
    assert keyed.client.delete("/trash", headers=headers).status_code == 403

    (line,) = eventually(lambda: [line for line in keyed.log.splitlines() if '"refused-1"' in line])
    assert json.loads(line)["key"] == "read"


def test_without_keys_every_request_is_allowed(service: RunningService) -> None:
    """A service without a file of keys allows every operation."""
    assert service.client.post("/engine/release").status_code == 200


def test_a_read_only_service_refuses_every_change(serve: Serve) -> None:
    """A read-only service answers 403 to every change and to what can only create a job; it still answers reads."""
    service = serve(engine_class=ECHO, read_only="true").wait_until_ready()
    (service.models_dir / "a.bin").touch()

    for method, path in operations():
        answer = service.client.request(
            method, path.replace("{name}", "a.bin").replace("{trash_id}", "missing").replace("{job_id}", "missing")
        )
        creates_job = (method, path) == ("post", "/ocr/jobs")
        if method == "delete" or creates_job or NEEDS[method, path] in {Scope.WRITE, Scope.ENGINE}:
            assert answer.status_code == 403
            assert method == "head" or answer.json()["type"].endswith(":read-only")
        else:
            assert answer.status_code in {200, 204, 404, 422}
    assert (service.models_dir / "a.bin").exists()


def test_every_scope_states_whether_it_changes_something() -> None:
    """Each scope states whether it allows changes; a read-only service refuses the scopes that do."""
    assert {scope: scope.changes for scope in Scope} == {
        Scope.READ: False, Scope.WRITE: True, Scope.ENGINE: True, Scope.AI: False,
        Scope.CONTENT: False,
    }  # fmt: skip


def test_a_scope_that_states_nothing_is_refused_by_a_read_only_service() -> None:
    """A read-only service refuses a scope that does not state that it changes nothing."""

    class Later(StatedScope):
        UNSTATED = "unstated"
        READS = "reads", READS

    request = Request({"type": "http", "method": "GET", "headers": []})
    access = Access(None, read_only=True)

    access.check(request, Later.READS)
    with pytest.raises(ServiceReadOnly):
        access.check(request, Later.UNSTATED)


def test_a_key_made_by_the_command_is_accepted(tmp_path: Path) -> None:
    """`keys new` prints an entry for the file on stdout and the key on stderr; the entry's keyring finds the key."""
    made = subprocess.run(
        [sys.executable, "-m", "app", "keys", "new", "ci", "--scope", "read", "--scope", "write"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (tmp_path / "keys.toml").write_text(made.stdout)
    key = made.stderr.split()[-1]

    found = Keyring.load(tmp_path / "keys.toml").find(key)

    assert isinstance(found, Key)
    assert (found.name, found.scopes) == ("ci", frozenset({Scope.READ, Scope.WRITE}))
    assert Keyring.load(tmp_path / "keys.toml").find(key + "x") is None
    assert key not in made.stdout


@pytest.mark.parametrize("name", ['a"b', "a\\b", "Zoë 漢字", "it's"])
def test_a_key_may_have_any_name_that_can_be_shown(tmp_path: Path, name: str) -> None:
    """The entry of a key with quotes, backslashes or other scripts in its name can be read again."""
    (tmp_path / "keys.toml").write_text(entry_for(name, [Scope.READ, Scope.READ], "ocr_x"))

    found = Keyring.load(tmp_path / "keys.toml").find("ocr_x")

    assert found
    assert (found.name, found.scopes) == (name, frozenset({Scope.READ}))


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\x1b[2J", "\u202ea", "anonymous", "cli:root", "a" * 101])
def test_a_name_that_misleads_is_refused(name: str) -> None:
    """`keys new` refuses a name that the log cannot show, or that another actor has, with status 2 and no key."""
    made = run_command(["keys", "new", name, "--scope", "read"], os.environ)

    assert (made.returncode, made.stdout) == (2, "")
    assert "ocr_" not in made.stderr


def test_several_blanks_may_precede_a_key(keyed: RunningService) -> None:
    """`Bearer` and the key may have more than one blank between them (RFC 9110)."""
    headers = {"authorization": f"Bearer   {KEYS[Scope.READ]}"}

    assert keyed.client.get("/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a file of keys"),
        ("keys = []", "holds no key"),
        ('[[keys]]\nname = "x"\nscopes = ["root"]\nsha256 = "00"', "'root' is not a valid Scope"),
        ('[[keys]]\nname = "x"', "scopes"),
        ("nonsense", "not a file of keys"),
        ("\ufeff" + ENTRY, "byte order mark"),
        (ENTRY + "note = 1", "in entry 1, the field 'note' is unknown"),
        (ENTRY.replace("keys", "key"), "unknown field 'key'"),
        (ENTRY.replace('["read"]', "[]"), "has no scopes"),
        (ENTRY.replace('["read"]', '"read"'), "has no scopes"),
        (ENTRY.replace('"x"', "1"), "the name is not text"),
        (ENTRY.replace('"x"', '"a\\u001b"'), "cannot be shown"),
        (ENTRY.replace('"x"', '" "'), "blank"),
        (ENTRY.replace('"x"', '"service"'), "the journal uses"),
        (ENTRY.replace("00", "0"), "64 hexadecimal digits"),
        (ENTRY + ENTRY.replace("00", "01"), "the entries 1 and 2 have the same name"),
        (ENTRY + ENTRY.replace('"x"', '"y"'), "the entries 1 and 2 have the same sha256"),
        ("keys = [1]", "not a table of fields"),
        ("keys = 1", "no entry"),
    ],
)
def test_an_invalid_file_of_keys_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """A file of keys that is empty, malformed or has an unknown scope raises KeysError with the reason."""
    (tmp_path / "keys.toml").write_text(text)

    with pytest.raises(KeysError, match=says) as refused:
        Keyring.load(tmp_path / "keys.toml")

    assert f"OCR_API_KEYS_FILE={tmp_path / 'keys.toml'}" in str(refused.value)
