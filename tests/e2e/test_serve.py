"""The command `serve` with the real AsposeAI, from its start to its shutdown."""

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.fork_server import run_command
from tests.support.processes import runs
from tests.support.service import ECHO
from tests.support.waiting import Deadline, eventually


def test_the_real_engine_starts_and_stops(serve: Serve) -> None:
    """The service starts the real AsposeAI, lists and deletes models, and stops with status 0."""
    service = serve()
    service.models_dir.joinpath("old_v1.bin").write_bytes(b"x" * 10)
    service.wait_until_ready()

    engine = service.engine()
    assert (engine["state"], engine["vendor"]["package"]) == ("ready", "aspose-ocr-python-net")
    assert engine["local_path"] == str(service.models_dir)
    assert service.client.get("/models/path").json() == {"path": engine["local_path"]}
    assert service.client.delete("/models/old_v1.bin").status_code == 200
    assert service.client.get("/models").json()["count"] == 0
    assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_leaves_nothing(serve: Serve, number: signal.Signals) -> None:
    """After SIGTERM or SIGINT no process, socket or working directory is left, and the status is 0."""
    service = serve(shutdown_grace="60s").wait_until_ready()  # freeing the resources is slow on a busy machine
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert children
    address = (service.client.base_url.host, service.client.base_url.port)

    assert service.stop(number) == 0

    assert not [child for child in children if child.is_running()]
    assert list(service.state_dir.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(address) != 0
    assert "the service is shutting down (exit status 0)" in service.log


def test_shutdown_finishes_running_requests(serve: Serve) -> None:
    """A request that came before the signal gets its answer."""
    service = serve(engine_class="tests.support.engines:SlowToFree").wait_until_ready()
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(service.client.post, "/engine/release")
        with httpx.Client(base_url=service.url, timeout=60) as other:
            # On a machine so busy that this look comes too late, the request has ended before the signal.
            eventually(lambda: other.get("/engine").json()["state"] == "stopping" or running.done())

        assert service.stop() == 0

        assert running.result().status_code == 200


def test_shutdown_is_bounded_when_the_engine_ignores_everything(serve: Serve) -> None:
    """If the engine ignores every request to end, the service and the engine still end within the grace."""
    service = serve(engine_class="tests.support.engines:IgnoresTerm", shutdown_grace="4s").wait_until_ready()
    pid = service.engine()["pid"]
    deadline = Deadline(4)

    assert service.stop() == 0

    assert not deadline.is_over
    assert not psutil.pid_exists(pid)


def test_the_engine_dies_with_its_parent(serve: Serve) -> None:
    """SIGKILL of the service ends the engine soon; the next service removes the working directory."""
    service = serve().wait_until_ready()
    child = psutil.Process(service.engine()["pid"])

    service.stop(signal.SIGKILL)

    eventually(lambda: not runs(child), within=60)
    assert len([path for path in service.state_dir.iterdir() if path.is_dir()]) == 1
    serve().wait_until_ready()
    assert len([path for path in service.state_dir.iterdir() if path.is_dir()]) == 1


def test_the_engine_dies_with_its_parent_even_in_a_native_call(serve: Serve) -> None:
    """SIGKILL of the service ends an engine that holds the GIL, because the kernel kills it."""
    service = serve(engine_class="tests.support.engines:HangsInFree").wait_until_ready()
    child = psutil.Process(service.engine()["pid"])
    with pytest.raises(httpx.ReadTimeout):
        service.client.post("/engine/release", timeout=0.3)

    service.stop(signal.SIGKILL)

    eventually(lambda: not runs(child), within=60)


def test_livez_answers_before_the_engine_is_ready(serve: Serve) -> None:
    """`/livez` answers before the engine is ready, even if the engine never becomes ready."""
    # The limit is generous; benchmarks/at_rest.py measures it against one second.
    limit = Deadline(15)
    service = serve(engine_class="tests.support.engines:NeverAnswers")

    assert service.client.get("/livez").json() == {"status": "alive"}
    assert not limit.is_over
    not_ready = service.client.get("/readyz")
    assert (not_ready.status_code, not_ready.json()["state"]) == (503, "starting")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"OCR_PORT": "eight"}, "OCR_PORT=eight"),
        ({"OCR_HOST": "0.0.0.0"}, "OCR_ALLOW_ANONYMOUS=true"),
        ({"OCR_ROOT_PATH": "/ocr"}, "OCR_ROOT_PATH=/ocr"),
        ({"OCR_ROOT_PATH": "/models/v1"}, "OCR_ROOT_PATH=/models/v1"),
        ({"OCR_TRUSTED_PROXIES": "10.0.0.0/8,nginx"}, "OCR_TRUSTED_PROXIES=10.0.0.0/8,nginx"),
        ({"OCR_TRUSTED_PROXIES": "0.0.0.0/0"}, "then any caller could state any address"),
        ({"OCR_API_KEYS_FILE": "missing.toml"}, "OCR_API_KEYS_FILE=missing.toml cannot be read"),
        ({"OCR_MODELS_DIR": "{tmp}", "OCR_STATE_DIR": "{tmp}"}, "is in the model folder"),
        ({"OCR_MODELS_DIR": "{tmp}", "OCR_STATE_DIR": "{tmp}/a/state"}, "Choose a folder outside it"),
        ({"OCR_LICENSE_FILE": "missing.lic"}, "OCR_LICENSE_FILE=missing.lic cannot be read: No such file"),
        ({"OCR_LICENSE_FILE": "/proc"}, "OCR_LICENSE_FILE=/proc cannot be read: Is a directory"),
        ({"OCR_LICENSE_FILE": "/dev/null"}, "OCR_LICENSE_FILE=/dev/null cannot be read: it is empty"),
        ({"OCR_LICENSE_REQUIRED": "true"}, "OCR_LICENSE_FILE is not set"),
        ({"OCR_MODELS_DIR": "/proc/nothing"}, "/proc/nothing cannot be created"),
        ({"OCR_JOBS_URL": "mysql://me:sesame@host/jobs"}, "OCR_JOBS_URL: it is not a URL such as postgresql://"),
        ({"OCR_JOBS_URL": "postgresql://me:open@sesame@host/jobs"}, "such as %40 for @"),
        ({"OCR_JOBS_URL": "postgresql://me:sesame@host/jobs?mode=1"}, "a parameter that PostgreSQL does not know"),
        ({"OCR_JOBS_URL_FILE": "missing.url"}, "OCR_JOBS_URL_FILE=missing.url cannot be read"),
        ({"OCR_WEBHOOK_ALLOWED_URLS": "https://receiver.example/"}, "set OCR_WEBHOOK_SECRET"),
        ({"OCR_WEBHOOK_SECRET": "sesame"}, "OCR_WEBHOOK_SECRET: a secret is whsec_"),
    ],
)
def test_a_wrong_setting_ends_the_start(settings: dict[str, str], says: str, tmp_path: Path) -> None:
    """A wrong setting ends the start with status 2 and one line, which names the variable and shows no secret."""
    folders = {"OCR_STATE_DIR": f"{tmp_path}/state", "OCR_MODELS_DIR": f"{tmp_path}/models", "OCR_PORT": "0"}
    placed = {name: value.replace("{tmp}", str(tmp_path)) for name, value in settings.items()}
    ended = run_command(["serve"], os.environ | folders | placed)

    assert ended.returncode == 2
    assert says in ended.stderr
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "sesame" not in ended.stderr


def ended_start(folder: Path, **settings: object) -> tuple[int, list[dict[str, Any]]]:
    """Run a service until it ends by itself. Return its exit status and the events of its log."""
    variables = {"MODELS_DIR": folder / "models", "STATE_DIR": folder / "state", "PORT": 0} | settings
    ended = run_command(["serve"], os.environ | {f"OCR_{name}": str(value) for name, value in variables.items()})
    return ended.returncode, [json.loads(line) for line in ended.stderr.splitlines()]


@pytest.mark.parametrize("engine_class", [ECHO, "tests.support.engines:DiesOfLicense"])
def test_a_refused_licence_ends_the_start(engine_class: str, tmp_path: Path) -> None:
    """If the engine refuses the licence, or dies of it, the service ends with status 2, and the log says what to do."""
    (tmp_path / "wrong.lic").write_text("no license")

    status, events = ended_start(tmp_path, ENGINE_CLASS=engine_class, LICENSE_FILE=tmp_path / "wrong.lic")

    assert status == 2
    (unlicensed,) = [event for event in events if event["event"] == "service.unlicensed"]
    assert (unlicensed["level"], "OCR_LICENSE_REQUIRED=false" in unlicensed["detail"]) == ("critical", True)


def test_a_missing_licence_that_is_not_required_is_evaluation_mode(serve: Serve) -> None:
    """With OCR_LICENSE_REQUIRED=false the service starts without the file, and `GET /engine` says so."""
    service = serve(engine_class=ECHO, license_file="missing.lic", license_required=False).wait_until_ready()

    assert service.engine()["license"]["mode"] == "evaluation"


def test_an_address_of_both_families_serves_both(serve: Serve) -> None:
    """`OCR_HOST=::` serves IPv6 and IPv4; the caller's IPv4 address is logged as such."""
    service = serve(engine_class=ECHO, host="::", allow_anonymous="true")

    for host in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"http://{host}:{service.client.base_url.port}/models/path", timeout=60).status_code == 200
    eventually(lambda: '"client": "127.0.0.1"' in service.log and '"client": "::1"' in service.log)


def test_a_read_only_folder_lists_and_refuses_changes(serve: Serve, tmp_path: Path) -> None:
    """In a folder without write permission the service lists models and refuses changes with 503."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "a.bin").touch()
    models.chmod(0o555)
    # Root may write anywhere unless these capabilities are dropped.
    wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner") if os.geteuid() == 0 else ()
    service = serve(wrapper=wrapper, engine_class=ECHO).wait_until_ready()

    assert service.client.get("/models").json()["count"] == 1
    refused = service.client.delete("/models/a.bin")
    assert problem_of(refused) == (503, "store-denied")
    assert (models / "a.bin").exists()


def test_a_missing_folder_is_503_until_it_is_back(serve: Serve) -> None:
    """While its folder is missing the service answers 503 instead of an empty list, and writes nothing there."""
    service = serve(engine_class=ECHO).wait_until_ready()
    (service.models_dir / "a.bin").touch()
    eventually(lambda: service.client.get("/models").json()["count"] == 1)
    away = service.models_dir.with_name("away")

    service.models_dir.rename(away)
    service.models_dir.mkdir()
    eventually(lambda: service.client.get("/models").status_code == 503)
    for request in ("GET /models/a.bin", "DELETE /models/a.bin", "GET /models/path", "GET /readyz"):
        answer = service.client.request(*request.split())
        assert problem_of(answer) == (503, "store-unavailable")
    assert list(service.models_dir.iterdir()) == []

    service.models_dir.rmdir()
    away.rename(service.models_dir)
    eventually(lambda: service.client.get("/models").status_code == 200)
    assert service.client.delete("/models/a.bin").status_code == 200
