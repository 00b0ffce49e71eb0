"""Fixtures for all tests. Every file is in the test's own temporary folder, and no test changes global state."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.store.store import Store
from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.held_jobs import store_on
from tests.support.service import ECHO, RunningService
from tests.support.skips import is_a_failure

Serve = Callable[..., RunningService]

# A machine that is slow or busy must fail no example: by default Hypothesis allows 200 ms for each, and stops if making
# the examples takes long. What the environment asks for, such as the same examples each time in CI, stays.
settings.register_profile(
    "any-machine",
    settings(),
    deadline=None,
    suppress_health_check=[*settings().suppress_health_check, HealthCheck.too_slow],
)
settings.load_profile("any-machine")

LONGEST_FILES = ("test_openapi_contract.py", "test_image.py", "test_hostile_models.py", "test_docs_page.py")
"""Files that take minutes. They begin first, so that the last process to end does not run one of them alone."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test fail in CI that is skipped because something is not installed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if is_a_failure(reason):
            report.outcome = "failed"
            report.longrepr = f"CI must not skip this test: {reason}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files that take longest begin first."""
    names = {name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: names.get(item.path.name, len(names)))


class FileScheduling(LoadFileScheduling):
    """Runs the tests of a file in one process, except those on volumes: they take a minute each and share little."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "test_volumes.py" in nodeid else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Choose which process runs which tests, in place of the option --dist."""
    return FileScheduling(config, log)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start real services on one folder: each is `python -m app serve` with the settings given as keyword arguments."""
    with ExitStack() as running:

        def start(folder: Path = tmp_path, **settings: object) -> RunningService:
            return running.enter_context(RunningService(folder, **settings))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return the store of an empty folder, without a service."""
    return store_on(tmp_path / "models")


@pytest.fixture
def jobs(store: Store) -> Jobs:
    """Return the jobs in the store."""
    return build_jobs(store)


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service without keys, with an engine that behaves, for all tests of this process. Tests use `service`."""
    settings = {"engine_class": ECHO, "engine_stable_after": 0, "protected": "keep_*"}
    with RunningService(tmp_path_factory.mktemp("service"), **settings) as running:  # type: ignore[arg-type]
        yield running


@pytest.fixture
def service(shared_service: RunningService) -> RunningService:
    """Return the shared service, ready, with an empty model folder and trash. Its journal and its jobs are kept."""
    return shared_service.clear().wait_until_ready()


@pytest.fixture
def models(service: RunningService) -> Path:
    """Return the model folder of the shared service."""
    return service.models_dir


@pytest.fixture(scope="session")
def shared_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningService]]:
    """Run two services on one folder for all tests of this process. Tests use `replicas`."""
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as running:
        yield [running.enter_context(RunningService(folder, engine_class=ECHO, max_uploads=16)) for _ in range(2)]


@pytest.fixture
def replicas(shared_replicas: list[RunningService]) -> list[RunningService]:
    """Return the two shared services, with an empty folder. `serve(replicas[0].folder, ...)` starts a third."""
    return [each.clear().wait_until_ready() for each in shared_replicas]


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Postgres]:
    """Run one server of PostgreSQL for all tests of this process, which none of them stops. Tests use `database`."""
    if not is_installed():
        pytest.skip("postgresql is not installed; .ci/run installs it")
    with Postgres() as running:
        yield running


@pytest.fixture
def database(shared_postgres: Postgres) -> str:
    """Return the URL of a new, empty database. A test that stops or kills the server starts its own `Postgres`."""
    return shared_postgres.new_database()


BACKENDS = ("folder", "postgres")
"""Where the queue of jobs can be."""


slow_on_postgres = pytest.mark.parametrize(
    "jobs_url", ["folder", pytest.param("postgres", marks=pytest.mark.slow)], indirect=True
)
"""Marks a test with `jobs_url` that takes long, or has many cases: with a database it is slow."""


@pytest.fixture(params=BACKENDS)
def jobs_url(request: pytest.FixtureRequest) -> str | None:
    """Return None, for a queue of jobs in the folder, and then the URL of a new database."""
    return None if request.param == "folder" else str(request.getfixturevalue("database"))


@pytest.fixture(scope="module", params=["folder", pytest.param("postgres", marks=pytest.mark.slow)])
def jobs_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the settings of a service whose queue of jobs is in the folder; in slow tests then of one with a database.

    A test waits for the database with `RunningService.wait_for_queue`.
    """
    if request.param == "folder":
        return {}
    postgres: Postgres = request.getfixturevalue("shared_postgres")
    return {"jobs_url": postgres.new_database()}


@pytest.fixture
def serve_jobs(serve: Serve, jobs_settings: dict[str, Any]) -> Serve:
    """Start real services as `serve` does, whose queue of jobs is in the folder; in slow tests then in a database."""
    return lambda *folder, **settings: serve(*folder, **jobs_settings | settings).wait_for_queue()


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on the event loop that the service uses."""
    return "asyncio", {"use_uvloop": True}
