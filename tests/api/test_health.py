"""`/readyz?verbose`: what was checked, and what is missing without making the service unready."""

from typing import Any

from tests.conftest import Serve
from tests.support.service import RunningService


def checks(service: RunningService) -> dict[str, dict[str, Any]]:
    answer = service.wait_until_ready().client.get("/readyz?verbose")
    assert answer.status_code == 200
    return {check["name"]: check for check in answer.json()["checks"]}


def test_the_checks_are_listed_when_they_are_asked_for(service: RunningService) -> None:
    """A probe gets one word; a person the list."""
    assert service.wait_until_ready().client.get("/readyz").json() == {"status": "ready"}
    assert service.client.get("/readyz?verbose=yes").status_code == 422

    found = checks(service)

    assert list(found) == ["store", "store-writable", "engine", "models"]
    assert [name for name, check in found.items() if check["required"]] == ["store", "engine"]
    assert all(check["ok"] and check["reason"] is None for check in found.values())


def test_missing_libraries_are_told_and_leave_the_service_ready(serve: Serve) -> None:
    """With the command that brings them."""
    found = checks(serve(native_dir="/nonexistent"))

    for name in ("ai", "recognition"):
        assert not found[name]["ok"]
        assert not found[name]["required"]
        assert "`python -m app provision`" in found[name]["reason"]
