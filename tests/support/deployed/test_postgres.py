"""The server of PostgreSQL that tests use: what it keeps when it is stopped or killed."""

from collections.abc import Iterator

import psutil
import pytest

from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.processes import runs

pytestmark = pytest.mark.skipif(not is_installed(), reason="postgresql is not installed; .ci/run installs it")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres(is_durable=True) as running:
        yield running


def test_each_database_is_empty(shared_postgres: Postgres, database: str) -> None:
    """A test sees no table of another test."""
    other = shared_postgres.new_database()
    shared_postgres.run("CREATE TABLE kept (number int)", database)

    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert [shared_postgres.run(tables, url) for url in (database, other)] == ["1", "0"]


def test_what_was_committed_survives(server: Postgres) -> None:
    """A server that was stopped or killed has the same address and data when it is started again."""
    url = server.new_database()
    server.run("CREATE TABLE kept (number int)", url)
    for end in (server.stop, server.kill, server.kill):
        server.run("INSERT INTO kept SELECT count(*) FROM kept", url)

        end()
        with pytest.raises(AssertionError, match="Connection refused"):
            server.run("SELECT 1", url)
        server.start()

    assert server.run("SELECT number FROM kept ORDER BY number", url).split() == ["0", "1", "2"]


def test_no_process_is_left() -> None:
    """The processes and files of a server are gone at its end."""
    with Postgres() as server:
        processes = [
            each for each in psutil.process_iter(["cmdline"]) if str(server.data) in (each.info["cmdline"] or [])
        ]
        processes += [child for each in processes for child in each.children()]
        assert len(processes) > 3

    assert not any(map(runs, processes))
    assert not server.data.parent.exists()
