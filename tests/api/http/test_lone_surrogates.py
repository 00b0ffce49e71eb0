"""JSON can say half a surrogate pair, which is no character, and which UTF-8 cannot carry."""

from typing import Any

import pytest

from tests.support.service import RunningService

HALF = "\\ud800"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/engine/load", f'{{"processor": "query", "model": "{HALF}"}}'),
        ("/ai/spell-check", f'{{"texts": ["{HALF}"]}}'),
        ("/ai/keywords", f'{{"texts": ["a"], "keywords": ["{HALF}"]}}'),
        ("/ai/spell-check", f'{{"texts": ["a"], "{HALF}": 1}}'),
        ("/prune", f'{{"dry_run": false, "plan_id": "{HALF}"}}'),
        ("/pulls", f'{{"url": "http://{HALF}"}}'),
        ("/pulls", f'{{"repository": "{HALF}", "file": "a"}}'),
    ],
)
def test_half_a_character_is_refused(service: RunningService, path: str, body: str) -> None:
    """As any other value that is not valid, wherever it stands."""
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"})

    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"].rpartition(":")[2]) == (422, "invalid-request"), problem
