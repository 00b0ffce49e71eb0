"""The settings of the queue's database: what is refused at the start, and that no message shows the password."""

import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.build import build_jobs
from app.build_service import build_unit_queue
from app.jobs.database.connection import connection_info, schema_of
from app.jobs.database.database_queue import DatabaseQueue
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.unit_queue import UnitQueue
from app.settings import Settings, SettingsError
from tests.support.held_jobs import store_on

URL = "postgresql://me:sesame@host:1/jobs?sslmode=require"


def queue(folder: Path, **settings: object) -> UnitQueue:
    return build_unit_queue(Settings(**settings), build_jobs(store_on(folder / "models")), lambda *_: None)  # type: ignore[arg-type]


def test_the_url_may_be_in_a_file(tmp_path: Path) -> None:
    """A secret of Docker or Kubernetes is a file. Without a URL the queue is the folder."""
    file = tmp_path / "url"
    file.write_text(f"{URL}\n")

    assert isinstance(queue(tmp_path, jobs_url_file=file), DatabaseQueue)
    assert isinstance(queue(tmp_path), FolderQueue)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:sesame@host/jobs",
        "postgresql://me:sesame@host/jobs?no=sesame",
        "postgresql://me:open@sesame@host/jobs",
        "postgresql://me:sesame/open@host/jobs",
        "postgresql://me:sesame@one..two/jobs",
        f"postgresql://me:sesame@{'x' * 64}/jobs",
        "postgresql://me:sesame@host:65536/jobs",
        "postgresql://me:sesame@host:0/jobs",
        "postgresql://me:sesame@one:1,two:65536/jobs",
        "sesame",
    ],
)
def test_a_wrong_url_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="OCR_JOBS_URL") as refused:
        queue(tmp_path, jobs_url=url)

    assert "sesame" not in f"{refused.value}{Settings(jobs_url=SecretStr(url))!r}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@one:5432,two:5433/jobs?target_session_attrs=read-write",
        "postgresql://me@[::1]:5432/jobs",
        "postgresql:///jobs?host=/run/postgresql",
        "postgres://b%C3%BCro.example",
    ],
)
def test_other_urls_of_libpq_are_taken(tmp_path: Path, url: str) -> None:
    """Several hosts, an IPv6 address, a socket, and a name with a letter that is not ASCII."""
    assert isinstance(queue(tmp_path, jobs_url=url), DatabaseQueue)


def test_without_the_extra_the_service_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.jobs.database", sys.modules["app.jobs.database"])  # the import replaces it until the end
    for name in [each for each in sys.modules if each.startswith(("app.jobs.database", "procrastinate"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "procrastinate", None)

    with pytest.raises(SettingsError, match=r"pip install 'ocr-model-service\[cluster\]'"):
        queue(tmp_path, jobs_url=URL)


def test_parameters_of_the_url_are_kept() -> None:
    """The options of the URL go before those of the service, except the schema; its other parameters go first."""
    info = connection_info("postgresql://host/jobs?options=-c%20statement_timeout%3D9&connect_timeout=1", "ocr_a")

    # Of two equal options the last one counts.
    own = "-c synchronous_commit=off -c idle_in_transaction_session_timeout=10s"
    assert f"options='{own} -c statement_timeout=9 -c search_path=ocr_a'" in info
    assert "connect_timeout=1" in info
    assert schema_of("one") != schema_of("two")
