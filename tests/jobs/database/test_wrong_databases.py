"""Databases that the queue cannot use: the reason is one line that says what to do, and never has the password."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.database.connection import DatabaseAway, open_database
from tests.conftest import Serve
from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.processes import free_port
from tests.support.service import ECHO
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(not is_installed(), reason="postgresql is not installed; .ci/run installs it")

PASSWORD = "sesame-of-the-test"
WITH_PASSWORD = "host all guest 127.0.0.1/32 scram-sha-256\n"
CHECK = "Check the host, port, user, password and database in OCR_JOBS_URL"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Run a server with a user that needs a password, and may create nothing."""
    with Postgres() as running:
        rules = running.data / "pg_hba.conf"
        rules.write_text(WITH_PASSWORD + rules.read_text())
        running.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'")
        running.run("SELECT pg_reload_conf()")
        running.run("CREATE ROLE guest LOGIN PASSWORD 'right'")
        running.run("CREATE DATABASE jobs")
        yield running


def url_of(server: Postgres, user: str, database: str = "jobs", host: str = "127.0.0.1") -> str:
    return f"postgresql://{user}@{host}:{server.port}/{database}"


async def reason_of(url: str) -> str:
    """Try to use a database, and return why it is away."""
    with pytest.raises(DatabaseAway) as away:
        async with open_database(url, "a folder"):
            pass
    return str(away.value)


@pytest.mark.anyio
async def test_the_reason_says_what_to_do(server: Postgres) -> None:
    """Each wrong part of the URL, and each lack of the server, is told in one line, in the server's words."""
    closed = free_port()
    urls = {
        url_of(server, f"guest:{PASSWORD}"): ("password authentication failed", CHECK),
        url_of(server, f"nobody:{PASSWORD}"): ('role "nobody" does not exist', CHECK),
        url_of(server, f"postgres:{PASSWORD}", "none"): ('database "none" does not exist', CHECK),
        url_of(server, f"postgres:{PASSWORD}", host="no-such-host.invalid"): ("no-such-host.invalid", CHECK),
        f"postgresql://postgres:{PASSWORD}@127.0.0.1:{closed}/jobs": (
            f"port {closed} failed: Connection refused",
            CHECK,
        ),
        url_of(server, f"postgres:{PASSWORD}") + "?sslmode=require": ("SSL", CHECK),
        url_of(server, "guest:right"): ("permission denied for database jobs", "the right CREATE on the database"),
    }
    for url, parts in urls.items():
        reason = await reason_of(url)
        assert all(part in reason for part in parts), reason
        assert ("\n" in reason, PASSWORD in reason) == (False, False)

    server.run("ALTER DATABASE jobs SET default_transaction_read_only = on")
    try:
        reason = await reason_of(url_of(server, "postgres"))
    finally:
        server.run("ALTER DATABASE jobs RESET default_transaction_read_only")
    assert ("read-only transaction" in reason, "target_session_attrs" in reason) == (True, True)


def test_a_service_waits_for_a_database_that_refuses_it(serve: Serve, tmp_path: Path, server: Postgres) -> None:
    """The service starts and says once why it has no queue; it needs no restart when the server accepts it."""
    service = serve(tmp_path, jobs_url=url_of(server, f"guest:{PASSWORD}"), engine_class=ECHO).wait_until_ready()
    eventually(lambda: "queue.away" in service.log, within=60)
    shown = service.client.get("/readyz?verbose").text

    server.run(f"ALTER ROLE guest PASSWORD '{PASSWORD}'")
    eventually(lambda: "the right CREATE" in service.client.get("/readyz?verbose").text, within=60)
    server.run("GRANT CREATE ON DATABASE jobs TO guest")
    eventually(lambda: "queue.back" in service.log, within=60)

    assert "password authentication failed" in shown
    assert service.log.count("queue.away") == 1
    assert [each for each in ("Traceback", PASSWORD) if each in service.log + shown] == []
