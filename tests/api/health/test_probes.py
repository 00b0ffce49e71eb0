"""`/readyz?verbose`: all checks, including those that are not required."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually


def checks(service: RunningService) -> dict[str, dict[str, Any]]:
    answer = service.wait_until_ready().client.get("/readyz?verbose")
    assert answer.status_code == 200
    return {check["name"]: check for check in answer.json()["checks"]}


def test_the_checks_are_listed_when_they_are_asked_for(service: RunningService) -> None:
    """`/readyz` answers only `ready`; `?verbose` adds all checks, and another value answers 422."""
    assert service.wait_until_ready().client.get("/readyz").json() == {"status": "ready"}
    assert service.client.get("/readyz?verbose=yes").status_code == 422
    assert service.client.get("/openapi.json").json()["components"]["schemas"]["ReadyOut"]["required"] == ["status"]

    found = checks(service)

    assert [name for name in found if not name.startswith("volume-")] == [
        "store",
        "store-writable",
        "journal",
        "models",
        "engine",
    ]
    assert {"volume-locks", "volume-exclusive-names", "volume-times"} <= set(found)
    assert [name for name, check in found.items() if check["required"]] == ["store", "engine"]
    assert all(check["ok"] and check["reason"] is None for check in found.values())


def test_missing_libraries_are_told_and_leave_the_service_ready(serve: Serve) -> None:
    """Without the native libraries the service is ready; the failed checks name the command that fetches them."""
    service = serve(native_dir="/nonexistent")
    found = checks(service)

    assert service.engine()["runtime"] is None
    for name in ("ai", "recognition"):
        assert not found[name]["ok"]
        assert not found[name]["required"]
        assert "`python -m app provision`" in found[name]["reason"]


@pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring the native libraries")
def test_openssl_1_1_is_in_the_engines_process_alone(serve: Serve) -> None:
    """The real engine passes every check with OpenSSL 1.1 loaded, and the service has not loaded OpenSSL 1.1.

    By default llama.cpp's build is the one for the CPU, and no check is about GPUs.
    """
    service = serve()
    found = checks(service)
    assert all(check["ok"] for check in found.values())
    assert "gpu" not in found
    assert service.engine()["runtime"] == {"build": "cpu", "gpus": []}

    old = {"libssl.so.1.1", "libcrypto.so.1.1"}
    mapped = [
        {Path(region.path).name for region in psutil.Process(pid).memory_maps()}
        for pid in (service.process.pid, service.engine()["pid"])
    ]
    assert [names & old for names in mapped] == [set(), old]


def test_a_service_that_is_not_ready_lists_all_checks(service: RunningService, models: Path) -> None:
    """With `?verbose` the 503 has the checks too: which required one failed and why, and all the others."""
    service.wait_until_ready()
    away = models.with_name("away")
    models.rename(away)
    try:
        answer = eventually(lambda: (got := service.client.get("/readyz?verbose")).status_code == 503 and got)
        plain = service.client.get("/readyz")
    finally:
        away.rename(models)
    assert problem_of(answer) == problem_of(plain) == (503, "store-unavailable")
    found = {check["name"]: check for check in answer.json()["checks"]}
    assert [name for name, check in found.items() if check["required"] and not check["ok"]] == ["store"]
    assert found["store"]["reason"] == answer.json()["detail"]
    assert {"store-writable", "journal", "engine"} <= set(found)
    assert "checks" not in plain.json()
    eventually(lambda: service.client.get("/readyz").status_code == 200)
