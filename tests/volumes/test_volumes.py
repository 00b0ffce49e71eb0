"""What two services on one folder must do, on real file systems, each service on a mount of its own."""

import os
from pathlib import Path

import pytest

from tests.volumes.cases import COLUMNS, Column, cases_of, run_case
from tests.volumes.mounting import Mounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


# MooseFS stalls by itself for up to half a minute, sshfs is refused like bindfs: `python -m tests.volumes` has both.
TESTED = os.environ.get("TEST_VOLUMES", "local,gluster,bindfs,bindfs-single").split(",")


@pytest.mark.parametrize(
    ("mounts", "column", "case"),
    [
        pytest.param(column.file_system, column, case, id=f"{column.name}-{case}")
        for column in map(COLUMNS.__getitem__, TESTED)
        for case in cases_of(column)
    ],
    indirect=["mounts"],
)
def test_two_services_on_one_folder(mounts: Mounts, column: Column, case: str, tmp_path: Path) -> None:
    """Nothing is lost and nobody is told what is not so; where locks do not reach the other, changes are refused."""
    result = run_case(column, case, tmp_path, mounts)

    assert not result.violations, "\n".join([f"{result.row}: {result.text}", *result.violations])
