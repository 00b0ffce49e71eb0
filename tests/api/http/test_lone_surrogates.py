"""A lone surrogate in JSON is refused: it is half of a character, and UTF-8 cannot encode it."""

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
def test_a_lone_surrogate_in_a_body_answers_422(service: RunningService, path: str, body: str) -> None:
    """A lone surrogate anywhere in a JSON body answers 422 `invalid-request`."""
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"})

    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["type"].rpartition(":")[2]) == (422, "invalid-request"), problem


@pytest.mark.parametrize("reason", [HALF, f"a {HALF}"])
def test_a_lone_surrogate_in_the_reason_of_a_protection_answers_422(service: RunningService, reason: str) -> None:
    """It answers 422 `invalid-request` and protects nothing, as its record could not be read again."""
    service.client.put("/models/half.bin", content=b"12345").raise_for_status()
    answer = service.client.put(
        "/models/half.bin/protection",
        content=f'{{"reason": "{reason}"}}',
        headers={"content-type": "application/json"},
    )

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (422, "invalid-request"), answer.text
    assert service.client.get("/models/half.bin").json()["protected"] is False
    service.client.delete("/models/half.bin").raise_for_status()
