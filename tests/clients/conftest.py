"""The fixtures of the tests of clients."""

from collections.abc import Iterator

import pytest

from app.api.http.keys import Scope, entry_for, new_key
from tests.clients.toolchain import Toolchain, install
from tests.support.service import RunningService

KEY = new_key()


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Toolchain:
    """Install the packages from npm, once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    return install((folder.parent if hasattr(request.config, "workerinput") else folder) / "npm")


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service that requires the key KEY. Its engine returns what an image that begins with `read` says."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "keys.toml").write_text(entry_for("clients", list(Scope), KEY))
    with RunningService(
        folder, engine_class="tests.support.engines:Reads", api_keys_file=folder / "keys.toml", resources_url="off"
    ) as running:
        yield running.wait_until_ready()
