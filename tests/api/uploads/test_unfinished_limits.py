"""How many uploads may be unfinished, in total and for each key."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from app.api.http.keys import Scope, entry_for, new_key
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.tus import append, begin, upload_metadata
from tests.support.service import ECHO, RunningService

SCOPES = [Scope.READ, Scope.WRITE]


def begin_with(service: RunningService, key: str, name: str) -> httpx.Response:
    headers = {"upload-length": "3", "upload-metadata": upload_metadata(filename=name)}
    return service.client.post("/uploads", headers=headers | {"authorization": f"Bearer {key}"})


def test_unfinished_uploads_are_bounded_in_total_and_by_key(serve: Serve, tmp_path: Path) -> None:
    """One more upload of a key, and one more in the folder, answer 429 that says what to do; nothing is created."""
    keys = {name: new_key() for name in ("one", "two", "three")}
    path = tmp_path / "keys.toml"
    path.write_text("".join(entry_for(name, SCOPES, key) for name, key in keys.items()))
    limits = {"max_unfinished_uploads": 3, "max_unfinished_uploads_per_key": 2}
    service = serve(engine_class=ECHO, api_keys_file=path, **limits)

    first = [begin_with(service, keys["one"], f"{number}.bin") for number in range(3)]
    others = [begin_with(service, keys[name], f"{name}.bin") for name in ("two", "three")]

    assert [answer.status_code for answer in first + others] == [201, 201, 429, 201, 429]
    assert problem_of(first[2]) == problem_of(others[1]) == (429, "too-many-unfinished-uploads")
    assert "'one' has 2 unfinished uploads" in first[2].json()["detail"]
    assert "OCR_MAX_UNFINISHED_UPLOADS)" in others[1].json()["detail"]
    assert "DELETE /uploads/{id}" in others[1].json()["detail"]
    assert (first[2].json()["limit"], others[1].json()["limit"]) == (2, 3)
    headers = {"authorization": f"Bearer {keys['one']}"}
    assert service.client.get("/uploads", headers=headers).json()["count"] == 3
    service.client.delete(first[0].headers["location"], headers=headers).raise_for_status()
    assert begin_with(service, keys["one"], "again.bin").status_code == 201


def test_the_limit_holds_when_uploads_are_created_at_once(serve: Serve) -> None:
    """Of 32 uploads created at the same time, exactly as many as allowed are; finished ones do not count."""
    service = serve(engine_class=ECHO, max_uploads=32, max_unfinished_uploads_per_key=5)
    for number in range(6):
        location = begin(service, f"done-{number}.bin", 1).raise_for_status().headers["location"]
        append(service, location, 0, b"x").raise_for_status()

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda number: begin(service, f"{number}.bin", 3), range(32)))

    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [429] * 27
    assert len(list(service.models_dir.glob(".store/staging/*.part"))) == 5
