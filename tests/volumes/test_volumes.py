"""The cases on real file systems, with two services that each have their own mount."""

import os
from pathlib import Path

import pytest

from tests.volumes.cases import COLUMNS, Column, cases_of, run_case
from tests.volumes.mounting import Mounts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


# Without MooseFS, which sometimes stalls for half a minute, and sshfs, which is refused like bindfs. `python -m
# tests.volumes` runs both.
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
    """A case has no violation: nothing is lost and answers are true, or changes are refused if locks are not shared."""
    result = run_case(column, case, tmp_path, mounts)

    assert not result.violations, "\n".join([f"{result.row}: {result.text}", *result.violations])
