"""The scenarios' results when the services refuse all changes as unsafe."""

from collections.abc import Callable
from contextlib import nullcontext

import httpx
import pytest

from tests.volumes import accounting, exact, job_units, scenarios
from tests.volumes.asking import UNSAFE, Pair, Result

PROBLEM = {"type": f"urn:example:{UNSAFE}", "status": 503}


def refusing(request: httpx.Request) -> httpx.Response:
    """Answer as a service does that refuses changes as unsafe."""
    if request.method == "GET":
        return httpx.Response(200, json={"models": [], "entries": [], "events": []})
    return httpx.Response(503, json=PROBLEM, headers={"content-type": "application/problem+json"})


@pytest.mark.parametrize(
    "scenario",
    [
        scenarios.new_file_shows,
        scenarios.one_deletion_wins,
        scenarios.one_creation_wins,
        scenarios.one_replacement_wins,
        lambda pair: scenarios.lease_is_heeded(pair, lambda _: nullcontext()),
        scenarios.protection_is_seen_at_once,
        scenarios.one_restore_wins,
        lambda pair: scenarios.pull_is_taken_over(pair, "http://127.0.0.1", lambda: None),
        job_units.units_have_one_result,
        lambda pair: job_units.job_outlives_its_service(pair, lambda: None),
        scenarios.journal_is_whole,
        exact.deleted_stay_in_the_trash,
        exact.restored_stay,
        lambda pair: accounting.nothing_is_lost(pair, deletions=10, restores=1),
    ],
)
def test_a_refusal_is_a_result(scenario: Callable[[Pair], Result]) -> None:
    """A scenario that is refused as unsafe has the result `refused` and no violation of its own."""
    with httpx.Client(base_url="http://127.0.0.1", transport=httpx.MockTransport(refusing)) as client:
        result = scenario(Pair(client, client))

    assert (result.is_refused, result.text, result.violations) == (True, "refused", [])
