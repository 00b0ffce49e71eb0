"""The table of cases: which scenarios run on which file systems, for the tests and for `python -m tests.volumes`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.volumes import accounting, exact, job_units, scenarios
from tests.volumes.asking import Result
from tests.volumes.mounting import LOCKS_REACH, Mounts
from tests.volumes.services import Services, two_services


@dataclass(frozen=True)
class Scale:
    """How many rounds, deletions, restores and changes the cases do."""

    rounds: int
    deletions: int
    restores: int
    changes: int


FULL = Scale(rounds=20, deletions=1000, restores=200, changes=400)
USUAL = Scale(rounds=20, deletions=300, restores=60, changes=400)
FAST = Scale(rounds=5, deletions=100, restores=20, changes=160)


@dataclass(frozen=True)
class Column:
    """One file system and the settings of the services on it: a column of the table."""

    file_system: str
    single_service: bool = False
    scale: Scale = USUAL

    @property
    def name(self) -> str:
        """The title of the column."""
        return self.file_system + ("-single" if self.single_service else "")

    @property
    def expects_refusal(self) -> bool:
        """True if the services must refuse changes, because locks of one do not reach the other."""
        return self.file_system not in LOCKS_REACH and not self.single_service

    @contextmanager
    def services(self, work: Path, mounts: Mounts) -> Iterator[Services]:
        """Run two services on the mounts."""
        settings = {"single_service": "true"} if self.single_service else {}
        locks_reach = self.file_system in LOCKS_REACH
        with two_services(work, mounts, locks_reach=locks_reach, **settings) as services:
            yield services


COLUMNS = {
    column.name: column
    for column in (
        Column("local"),
        Column("moosefs"),
        Column("gluster", scale=FULL),
        Column("sshfs"),
        Column("bindfs", scale=FULL),
        Column("bindfs", single_service=True, scale=FULL),
    )
}
CASES: dict[str, Callable[[Services, Column], Result]] = {
    "shows": lambda on, column: scenarios.new_file_shows(on.pair, rounds=column.scale.rounds),
    "deletions": lambda on, column: scenarios.one_deletion_wins(on.pair, rounds=column.scale.rounds),
    "creations": lambda on, column: scenarios.one_creation_wins(on.pair, rounds=column.scale.rounds),
    "replacements": lambda on, column: scenarios.one_replacement_wins(on.pair, rounds=column.scale.rounds),
    "lease": lambda on, _: scenarios.lease_is_heeded(on.pair, on.hold_lease),
    "protection": lambda on, column: scenarios.protection_is_seen_at_once(on.pair, rounds=column.scale.rounds // 2),
    "restores": lambda on, column: scenarios.one_restore_wins(on.pair, rounds=column.scale.rounds),
    "pull": lambda on, _: scenarios.pull_is_taken_over(on.pair, on.hub.cdn_url, on.kill_a),
    "units": lambda on, _: job_units.units_have_one_result(on.pair),
    "killed": lambda on, _: job_units.job_outlives_its_service(on.pair, on.kill_a),
    "journal": lambda on, column: scenarios.journal_is_whole(on.pair, changes=column.scale.changes),
    "trashed": lambda on, _: exact.deleted_stay_in_the_trash(on.pair),
    "restored": lambda on, _: exact.restored_stay(on.pair),
    "lost": lambda on, column: accounting.nothing_is_lost(
        on.pair,
        deletions=column.scale.deletions,
        restores=column.scale.restores,
        # The journal is whole only if locks are shared.
        is_journal_whole=not column.single_service,
    ),
}
"""The cases, in the order of the table's rows."""
HOLDS_WITHOUT_LOCKS = ("trashed", "restored", "lost")
"""The cases that must hold even if locks are not shared and `single_service` is set."""


def cases_of(column: Column) -> list[str]:
    """Return the names of the cases for one file system."""
    return list(HOLDS_WITHOUT_LOCKS if column.single_service else CASES)


def run_case(column: Column, case: str, work: Path, mounts: Mounts, scale: Scale | None = None) -> Result:
    """Run one case with two services on a new folder, and return its result."""
    folder = work / f"{column.name}-{case}"
    folder.mkdir()
    with column.services(folder, mounts.folder(folder.name)) as services:
        result = CASES[case](services, replace(column, scale=scale or column.scale))
    if column.expects_refusal:
        result.check(result.is_refused, "changes are not refused, although locks of one service do not reach the other")
    else:
        result.check(not result.is_refused, "changes are refused, although locks are shared")
    return result
