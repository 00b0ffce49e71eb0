"""`/engine` over HTTP."""

import os
import signal
from pathlib import Path

import psutil

from tests.conftest import Serve
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


def test_it_says_what_the_engine_is_and_holds(service: RunningService) -> None:
    """`GET /engine` has state, process, memory, vendor, licence, paths and capabilities."""
    # What changed in the folder before this test is a reason to ask the engine what it sees.
    engine = eventually(lambda: None if (asked := service.engine())["busy"] else asked)

    assert (engine["state"], engine["reason"], engine["busy"], engine["waiting"]) == ("ready", None, False, 0)
    assert psutil.Process(engine["pid"]).ppid() == service.process.pid
    assert engine["uptime_seconds"] > 0
    assert 0 < engine["memory"]["private_bytes"] <= engine["memory"]["resident_bytes"]
    assert engine["vendor"] == {"package": "echo", "version": "1.0"}
    assert engine["license"] == {"mode": "evaluation", "error": None}
    assert engine["local_path"] == str(service.models_dir)
    assert engine["capabilities"] == [{"name": "models", "available": True, "reason": None}]


def test_release_gives_everything_back(service: RunningService) -> None:
    """`POST /engine/release` answers after the old process has ended, and another process becomes ready."""
    before = service.wait_until_ready().engine()

    release = service.client.post("/engine/release").raise_for_status().json()

    assert release["pid"] == before["pid"]
    assert not psutil.pid_exists(release["pid"])
    assert 0 < release["returned_bytes"] <= release["resident_bytes_before"]
    service.wait_until_ready()
    after = service.engine()
    assert after["restarts"] == before["restarts"] + 1
    assert (after["last_exit"]["pid"], after["last_exit"]["reason"]) == (release["pid"], "released (exit status 0)")


def test_listing_never_fails_while_the_engine_dies_again_and_again(service: RunningService) -> None:
    """`GET /models` answers 200 while the engine process is killed repeatedly."""
    for _ in range(3):
        pid = service.wait_until_ready().engine()["pid"]
        os.kill(pid, signal.SIGKILL)
        for _ in range(20):
            assert service.client.get("/models").status_code == 200
        eventually(lambda before=pid: service.engine()["pid"] not in {before, None})


def test_an_engine_that_cannot_start_leaves_a_service_that_says_why(serve: Serve) -> None:
    """If the engine cannot start, /livez and /models answer 200, /readyz 503 with the reason, /engine its output."""
    service = serve(engine_class="tests.support.engines:ExitsAtStart", engine_restart_budget=1)
    eventually(lambda: service.engine()["state"] == "failed")

    not_ready = service.client.get("/readyz")
    assert not_ready.status_code == 503
    assert 1 < int(not_ready.headers["retry-after"]) <= 60  # the rest of the pause until the next start
    assert "exit status 3" in not_ready.json()["detail"]
    assert service.client.get("/livez").status_code == 200
    assert service.client.get("/models").status_code == 200
    assert service.engine()["last_exit"]["output"] == ["no engine for you"]
    assert service.client.post("/engine/release").status_code == 200


def test_a_wrong_license_shows(serve: Serve, tmp_path: Path) -> None:
    """With a wrong licence that is not required, `/engine` and `/readyz` tell the vendor's error; the rest works."""
    (tmp_path / "wrong.lic").write_text("no license")
    service = serve(engine_class=ECHO, license_file=tmp_path / "wrong.lic", license_required=False).wait_until_ready()
    (check,) = [c for c in service.client.get("/readyz?verbose").json()["checks"] if c["name"] == "license"]
    assert (check["ok"], check["required"]) == (False, False)
    assert "wrong.lic is no license" in check["reason"]

    license_out = service.engine()["license"]
    assert license_out["mode"] == "evaluation"
    assert "wrong.lic is no license" in license_out["error"]
