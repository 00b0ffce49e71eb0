"""The connections to the queue's database, and the tables there."""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.manager import JobManager
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, Error
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import (
    ConnectionTimeout,
    ForeignKeyViolation,
    InsufficientPrivilege,
    RaiseException,
    ReadOnlySqlTransaction,
)
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

FAILURES = (ConnectorException, Error, OSError, TimeoutError)
"""What the driver raises if the database does not answer, refuses this service, or lacks the tables."""
MAX_REASON_CHARS = 300
OPERATION_SECONDS = 5.0
"""How long an operation may take, in seconds. A database that hangs is away."""
CONNECTIONS = 3
"""How many connections a service has at most, besides the one that listens."""
OLDEST = 13
"""The oldest version of PostgreSQL that procrastinate's statements work with."""
CONNECTING = "Check the host, port, user, password and database in OCR_JOBS_URL, and whether the server accepts them"
LOCKED = "If it answers other programs, look for a lock: wait_event_type in pg_stat_activity is 'Lock' then"
TOO_MANY = "Raise max_connections or the limit of the role or database: each service needs four connections"
REMEDIES: dict[type[Error], str] = {
    ForeignKeyViolation: "The other services had removed this one from their list, because it had sent no heartbeat "
    "for ten seconds. It registers again by itself",
    InsufficientPrivilege: "Give the user in OCR_JOBS_URL the right CREATE on the database, and use one user for all "
    "services of the folder",
    ReadOnlySqlTransaction: "Name the server that can be written to in OCR_JOBS_URL; target_session_attrs=read-write "
    "finds it among several hosts",
}
"""What to do about errors of the server."""
INDEXES = (
    "CREATE INDEX ocr_units_of_jobs ON procrastinate_jobs ((args->>'job')) WHERE status IN ('todo', 'doing')",
    "CREATE INDEX ocr_units_of_keys ON procrastinate_jobs ((args->>'key'), priority) WHERE status = 'todo'",
    "CREATE INDEX ocr_units_ended ON procrastinate_jobs (id) WHERE status NOT IN ('todo', 'doing')",
)
"""Indexes for the questions that procrastinate's own queries do not ask."""
PARTS = """
SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = %(schema)s
UNION SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = %(schema)s
"""
"""The names of the types and functions of a schema. Each table has a type of its name."""
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it would log each attempt to connect; an event says it once


class RowGone(Exception):
    """A row is gone, or in a state in which it cannot be changed so, because another service has changed it."""


class UnitWaits(Exception):
    """A row cannot wait, because its unit has another row that waits."""


class DatabaseAway(Exception):
    """The database does not answer, refuses this service, or lacks the tables.

    The text says why, in one line, and what an operator can do about it, if anything.
    """

    def __init__(self, reason: str, remedy: str | None = None) -> None:
        super().__init__(f"{reason}. {remedy}" if remedy else reason)


@asynccontextmanager
async def answering(seconds: float = OPERATION_SECONDS) -> AsyncIterator[None]:
    """Raise DatabaseAway, RowGone or UnitWaits if an operation of the block fails; it may take `seconds`."""
    try:
        with anyio.fail_after(seconds):
            yield
    except FAILURES as exc:
        # The driver's messages name the server and the user, and never the password.
        cause = exc.__cause__ if isinstance(exc, ConnectorException) and exc.__cause__ else exc
        if isinstance(exc, UniqueViolation):
            raise UnitWaits from exc
        if isinstance(cause, RaiseException):
            raise RowGone from exc
        remedy = REMEDIES.get(type(cause)) if isinstance(cause, Error) else None
        raise DatabaseAway(_reason_of(cause), LOCKED if isinstance(cause, TimeoutError) else remedy) from exc


def _reason_of(cause: BaseException) -> str:
    stated = cause.diag.message_primary if isinstance(cause, Error) else None
    reason = " ".join((stated or str(cause)).split())[:MAX_REASON_CHARS].rstrip("?.")
    return reason or ("it does not answer" if isinstance(cause, TimeoutError) else type(cause).__name__)


class QueueConnection(AsyncConnection[TupleRow]):
    """A connection whose opening is not interrupted.

    The driver leaves the socket of an interrupted opening to the garbage collector, and PostgreSQL, which waits a
    minute for a caller that says nothing, could not shut down meanwhile.
    """

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:  # noqa: ANN401 - as the driver has them
        """Connect. If the caller is cancelled, the connection is closed as soon as it is there."""
        opening = asyncio.ensure_future(super().connect(*arguments, **options))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            closing = asyncio.ensure_future(_close_when_open(opening))
            _CLOSING.add(closing)
            closing.add_done_callback(_CLOSING.discard)
            raise


_CLOSING = set[asyncio.Future[None]]()
"""What closes connections whose opening was interrupted."""


async def _close_when_open(opening: "asyncio.Future[Any]") -> None:
    with contextlib.suppress(*FAILURES):
        await (await opening).close()


class QueueDatabase:
    """The tables of one model folder in a database, with open connections to it."""

    def __init__(self, manager: JobManager, pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
        """Use `open_database`."""
        self.manager = manager
        self.deferring = asyncio.Lock()
        """Held while units are queued, so that there are connections for other operations."""
        self._pool = pool

    @asynccontextmanager
    async def transaction(self, seconds: float = OPERATION_SECONDS) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """Open a transaction, which is committed at the end of the block. Raises DatabaseAway."""
        async with answering(seconds), self._pool.connection() as connection, connection.transaction():
            yield connection

    async def run(self, statement: str, **values: Any) -> list[TupleRow]:  # noqa: ANN401 - values of SQL
        """Run a statement as one transaction and return its rows. Raises DatabaseAway."""
        async with answering(), self._pool.connection() as connection:
            return await rows_of(connection, statement, **values)


@asynccontextmanager
async def open_database(url: str, folder_id: str) -> AsyncIterator[QueueDatabase]:
    """Connect to the database, and create the tables of a model folder there if they are missing.

    If some of the tables, types or functions are missing, all are created anew. `folder_id` is the folder's identity.
    Raises DatabaseAway.
    """
    schema = schema_of(folder_id)
    info = connection_info(url, schema)
    async with await _connected(info) as connection, answering(2 * OPERATION_SECONDS):
        await _create_tables(connection, schema)
    pool = AsyncConnectionPool[AsyncConnection[TupleRow]](
        info,
        connection_class=QueueConnection,
        configure=_commit_each_statement,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=OPERATION_SECONDS,
        open=False,
    )
    try:
        await pool.open()
        connector = PsycopgConnector()
        await connector.open_async(pool)
        yield QueueDatabase(JobManager(connector), pool)
    finally:
        with anyio.CancelScope(shield=True):
            await pool.close(timeout=OPERATION_SECONDS)
            loop = asyncio.get_running_loop()
            if closing := [each for each in _CLOSING if each.get_loop() is loop]:
                await asyncio.wait(closing, timeout=OPERATION_SECONDS)


async def _commit_each_statement(connection: AsyncConnection[TupleRow]) -> None:
    """Make each statement outside of `transaction` a transaction, without a question and an answer for its two ends."""
    await connection.set_autocommit(True)


async def _connected(info: str) -> QueueConnection:
    """Connect. Raises DatabaseAway, which says to check the URL: only the server knows whether it is right."""
    try:
        with anyio.fail_after(2 * OPERATION_SECONDS):  # there may be several hosts or addresses
            return await QueueConnection.connect(info)
    except (ConnectionTimeout, TimeoutError) as exc:
        given = conninfo_to_dict(info)
        raise DatabaseAway(f"{given.get('host')}:{given.get('port', 5432)} does not answer", CONNECTING) from exc
    except (Error, OSError) as exc:
        reason = _reason_of(exc)
        raise DatabaseAway(reason, TOO_MANY if "too many connections" in reason else CONNECTING) from exc


def schema_of(folder_id: str) -> str:
    """Return the name of the PostgreSQL schema that has the tables of a model folder.

    Each folder has its own, so that two folders may use one database. So has each version of procrastinate's tables,
    instead of a migration: the rows can be made again from the folder, and services of both versions may run.
    """
    version = hashlib.sha256(SchemaManager.get_schema().encode()).hexdigest()[:8]
    return f"ocr_{hashlib.sha256(folder_id.encode()).hexdigest()[:12]}_{version}"


def connection_info(url: str, schema: str) -> str:
    """Return what libpq needs to connect. Values in the URL go first, except the schema."""
    given: dict[str, Any] = dict(conninfo_to_dict(url))
    # The folder decides what was done, so the service need not wait until a row's change is on the disk.
    # A service that is paused in a transaction must not keep its locks.
    own = ["-c synchronous_commit=off", f"-c idle_in_transaction_session_timeout={2 * OPERATION_SECONDS:.0f}s"]
    options = [*own, *filter(None, [given.pop("options", "")]), f"-c search_path={schema}"]
    defaults: dict[str, Any] = {
        "connect_timeout": int(OPERATION_SECONDS),
        "tcp_user_timeout": int(OPERATION_SECONDS * 2000),  # else a machine that vanished is noticed after minutes
        "application_name": "ocr-model-service",
        "client_encoding": "UTF8",  # else a database of the encoding SQL_ASCII refuses procrastinate's statements
    }
    return make_conninfo("", **(defaults | given), options=" ".join(options))


def is_url(url: str) -> bool:
    """Return True if libpq can read a URL, and its hosts and ports can exist and have no part of a password."""
    try:
        given = conninfo_to_dict(url)
        hosts = str(given.get("host", "")).split(",")
        for host in hosts:
            if not host.startswith("/"):  # the folder of a socket
                host.encode("idna")  # raises UnicodeError; to connect would raise it too, as nothing else does
    except (Error, UnicodeError):
        return False
    # libpq takes what follows the first @ of `user:pass@word@host` for the host, and names it in its messages.
    ports = str(given.get("port", "")).split(",")
    return not any("@" in host for host in hosts) and all(
        not port or (re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 1 << 16) for port in ports
    )


async def rows_of(
    connection: AsyncConnection[TupleRow],
    statement: str,
    **values: Any,  # noqa: ANN401 - values of SQL
) -> list[TupleRow]:
    """Run a statement on a connection and return its rows."""
    cursor = await connection.execute(SQL(statement), values)  # all statements are constants
    return await cursor.fetchall() if cursor.description else []


async def _create_tables(connection: AsyncConnection[TupleRow], schema: str) -> None:
    if (version := connection.info.server_version) < OLDEST * 10_000:
        remedy = f"Use PostgreSQL {OLDEST} or later, and name its server in OCR_JOBS_URL"
        raise DatabaseAway(f"the server is PostgreSQL {version // 10_000}.{version % 10_000}", remedy)
    async with connection.transaction():
        # Several services may start at once.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (schema,))
        parts = set(re.findall(r"CREATE (?:TABLE|FUNCTION|TYPE) (\w+)", SchemaManager.get_schema()))
        found = parts & {name for (name,) in await rows_of(connection, PARTS, schema=schema)}
        if found == parts:
            return
        if found:  # the rest is of no use, and the units are queued again from the folder
            await connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
        await connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
        await connection.execute(SchemaManager.get_schema())
        for statement in INDEXES:
            await connection.execute(SQL(statement))
