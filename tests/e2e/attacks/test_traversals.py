"""Path traversals in every request that takes a model's name, sent unchanged."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients.raw import raw_request
from tests.support.files.traversals import OUTSIDE, traversals
from tests.support.service import ECHO, RunningService

SECRET = b"nobody may read, replace or delete this"
NAMES = list(traversals())


def content_of(answer: bytes) -> bytes:
    """Return the body of a raw answer."""
    return answer.partition(b"\r\n\r\n")[2]


def lies_inside(models: Path, name: str) -> bool:
    """Return True if the name is a regular file below the model folder, and not in the folder of the store."""
    path = models / name
    return path.is_file() and path.resolve() == path and not any(part.startswith(".") for part in name.split("/"))


class Attacker:
    """Sends traversals to every route that takes a name, and compares the files around the model folder."""

    def __init__(self, service: RunningService, above: Path) -> None:
        self.service = service
        self.models = service.models_dir
        self._above = above
        self.canaries = [folder / OUTSIDE for folder in self.models.parents if folder.is_relative_to(above)]
        for canary in self.canaries:
            canary.write_bytes(SECRET)
        (self.models / "keep.bin").write_bytes(b"a model")
        self._before = self._around()
        self._trash_id = self._trash()

    def try_all(self, names: Iterable[str]) -> None:
        """Send every name to every route."""
        for name in names:
            for method in ("GET", "DELETE"):
                self._refused(method, f"/models/{name}")
            self._refused("GET", f"/models/path?name={name}")
            self._put(name)
            self._restore(name)

    def check_nothing_changed(self) -> None:
        """Check that all files around the folder, the store's identity and the model are unchanged."""
        assert self._around() == self._before
        assert all(canary.read_bytes() == SECRET for canary in self.canaries)
        assert (self.models / "keep.bin").read_bytes() == b"a model"
        self.service.client.get("/models").raise_for_status()

    def _around(self) -> dict[Path, bytes | None]:
        skipped = (self.models, self.service.state_dir)
        paths = [path for path in self._above.rglob("*") if not any(path.is_relative_to(each) for each in skipped)]
        identity = self.models / ".store/store.json"
        return {path: path.read_bytes() if path.is_file() else None for path in (*paths, identity)}

    def _refused(self, method: str, target: str) -> None:
        status, answer = raw_request(self.service, method, target)
        if target.startswith("/models/path?name=") and status == 200:
            # Without a name, or with one that '#' or '&' cuts to nothing, the answer is the path of the folder.
            assert json.loads(content_of(answer)) == {"path": str(self.models)}, (target, answer)
            return
        assert 400 <= status < 500, (method, target, answer)
        assert SECRET not in answer
        assert b"application/problem+json" in answer, (method, target, answer)

    def _put(self, name: str) -> None:
        """PUT a name. A success is allowed only if the name is literally one below the folder."""
        status, answer = raw_request(self.service, "PUT", f"/models/{name}", b"from outside")
        if status == 201:
            stored = json.loads(content_of(answer))["name"]
            assert lies_inside(self.models, stored), (name, stored)
            assert self.service.client.get("/models/path", params={"name": stored}).status_code == 200
            (self.models / stored).unlink()
        else:
            assert 400 <= status < 500, (name, answer)

    def _restore(self, name: str) -> None:
        status, answer = raw_request(self.service, "POST", f"/trash/{self._trash_id}/restore?as={name}")
        if status == 200:
            stored = json.loads(content_of(answer))["name"]
            assert lies_inside(self.models, stored), (name, stored)
            (self.models / stored).unlink()
            self._trash_id = self._trash()
        else:
            assert 400 <= status < 500, (name, answer)

    def _trash(self) -> str:
        (self.models / "deleted.bin").write_bytes(b"another model")
        return str(self.service.client.delete("/models/deleted.bin").raise_for_status().json()["trash_id"])


def attack(serve: Serve, tmp_path: Path, names: Iterable[str]) -> None:
    """Send names to a service in a deep folder, and check that nothing outside has changed."""
    deep = tmp_path / "a/b/c"
    deep.mkdir(parents=True)
    models = deep / "models"
    attacker = Attacker(serve(models_dir=models, engine_class=ECHO), tmp_path)
    attacker.try_all(names)
    attacker.check_nothing_changed()


def test_some_traversals_are_refused(serve: Serve, tmp_path: Path) -> None:
    """Of every 41st traversal no request succeeds outside the folder, and none answers 500."""
    attack(serve, tmp_path, NAMES[::41])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_traversals_are_refused(serve: Serve, tmp_path: Path) -> None:
    """Of all traversals no request succeeds outside the folder, and none answers 500."""
    assert len(NAMES) > 1500
    attack(serve, tmp_path, NAMES)
