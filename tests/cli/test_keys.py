"""`keys create`: the first key, the file of keys, and what it refuses."""

import json
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.api.http.keys import Keyring, Scope
from tests.cli.test_backends import through
from tests.conftest import Serve
from tests.support.fork_server import run_command
from tests.support.service import ECHO


def create(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `keys create` with the scope `read` on a file of keys."""
    environment = os.environ | {"OCR_API_KEYS_FILE": str(file)}
    return run_command(["keys", "create", *arguments, "--scope", "read"], environment)


def test_the_first_key_is_made_with_its_file(tmp_path: Path, serve: Serve) -> None:
    """`keys create` makes the folder and the file, which only its owner can read, and a service takes the key."""
    file = tmp_path / "new/keys.toml"

    made = create(file, "me")
    key = made.stdout.strip()
    service = serve(engine_class=ECHO, api_keys_file=file)

    assert (made.returncode, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    assert key not in file.read_text()
    assert through(service, "models", "list", OCR_KEY=key).returncode == 0
    assert through(service, "models", "list").returncode == 1


def test_the_first_key_is_made_where_the_settings_need_one(tmp_path: Path) -> None:
    """As in the image, where OCR_HOST lets no service start without keys: the file that --file names is made."""
    file = tmp_path / "keys.toml"
    arguments = ["keys", "create", "me", "--scope", "read", "--file", str(file)]

    made = run_command(arguments, os.environ | {"OCR_HOST": "0.0.0.0"})

    assert (made.returncode, [key.name for key in Keyring.load(file).keys]) == (0, ["me"])
    assert f"OCR_API_KEYS_FILE={file}" in made.stderr


def test_a_further_key_keeps_what_the_file_has(tmp_path: Path) -> None:
    """A second key is added behind the first, and a comment, the mode and a link to the file stay."""
    file = tmp_path / "keys.toml"
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    create(file, "first")
    file.write_text("# the keys of Tuesday\n" + file.read_text().rstrip())
    file.chmod(0o640)

    made = json.loads(create(link, "second", "--json").stdout)

    ring = Keyring.load(file)
    assert [key.name for key in ring.keys] == ["first", "second"]
    assert ring.find(made["key"]) is ring.keys[1]
    assert (made["name"], made["scopes"], made["file"]) == ("second", ["read"], str(link))
    assert (file.read_text()[:10], stat.S_IMODE(file.stat().st_mode), link.is_symlink()) == ("# the keys", 0o640, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.toml", "link.toml"]


@pytest.mark.parametrize(
    ("content", "name", "status", "says"),
    [
        (None, "first", 1, "has a key of the name 'first' already"),
        ("keys = 1\n", "me", 2, "is not a file of keys"),
        (None, "cli:me", 2, "reserved"),
    ],
)
def test_a_key_that_would_break_the_file_is_refused(
    tmp_path: Path, content: str | None, name: str, status: int, says: str
) -> None:
    """A taken name, a file that is none of keys, and a reserved name leave the file as it was, and print no key."""
    file = tmp_path / "keys.toml"
    create(file, "first")
    if content:
        file.write_text(content)
    before = file.read_bytes()

    refused = create(file, name)

    assert (refused.returncode, refused.stdout, file.read_bytes()) == (status, "", before)
    assert says in " ".join(refused.stderr.split())


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error about the file of keys names that file, and not the model folder."""
    (tmp_path / "file").touch()

    refused = create(tmp_path / "file/keys.toml", "me")

    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{tmp_path}/file/keys.toml cannot be written" in refused.stderr


def test_several_commands_at_once_lose_no_key(tmp_path: Path) -> None:
    """Four commands at once add four keys."""
    file = tmp_path / "keys.toml"
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda number: create(file, f"key-{number}"), range(4)))

    assert [each.returncode for each in made] == [0] * 4
    assert {key.name for key in Keyring.load(file).keys} == {f"key-{number}" for number in range(4)}
    assert Keyring.load(file).keys[0].scopes == {Scope.READ}
