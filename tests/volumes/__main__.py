"""Print what two services do on real file systems, as a table in Markdown.

    python -m tests.volumes [--fast] [COLUMN ...]

Columns are local, moosefs, gluster, sshfs, bindfs and bindfs-single; the default is all. Results with violations are
bold, and the violations are listed below the table. Mounting requires root. The exit status is 1 if there is a
violation.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import httpx

from tests.volumes.asking import Result
from tests.volumes.cases import CASES, COLUMNS, FAST, Column, Scale, cases_of, run_case
from tests.volumes.mounting import FILE_SYSTEMS, CannotMount, Mounts

Cells = dict[str, dict[str, Result]]
"""The results by column and case."""


def main() -> int:
    """Run the chosen cases and print the table. Return 1 if a result has a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.volumes", description=__doc__.partition("\n")[0])
    parser.add_argument("--fast", action="store_true", help="fewer rounds and changes")
    parser.add_argument("--cases", help=f"some of the rows, with commas between: {', '.join(CASES)}")
    parser.add_argument("columns", nargs="*", metavar="COLUMN", help=f"of {', '.join(COLUMNS)}")
    asked = parser.parse_args()
    if unknown := set(asked.columns) - set(COLUMNS):
        parser.error(f"no such column: {', '.join(sorted(unknown))}")
    cases = asked.cases.split(",") if asked.cases else list(CASES)
    cells: Cells = {
        name: run_column(COLUMNS[name], cases, FAST if asked.fast else None) for name in asked.columns or COLUMNS
    }
    print(table(cells, cases))
    return int(any(result.violations for results in cells.values() for result in results.values()))


def run_column(column: Column, cases: list[str], scale: Scale | None) -> dict[str, Result]:
    """Run the chosen cases on one file system. If it cannot be mounted, every result is `not mounted`."""
    results: dict[str, Result] = {}
    chosen = [case for case in cases_of(column) if case in cases]
    with tempfile.TemporaryDirectory(prefix=f"{column.name}-") as folder:
        work = Path(folder)
        (work / "mounts").mkdir()
        try:
            with FILE_SYSTEMS[column.file_system](work / "mounts") as mounts:
                for case in chosen:
                    results[case] = run_cell(column, case, work, mounts, scale)
                    print(f"{column.name} {case}: {results[case].text}", file=sys.stderr, flush=True)
        except CannotMount as exc:
            print(f"{column.name} cannot be mounted: {exc}", file=sys.stderr)
            return {case: Result(case, "not mounted") for case in chosen}
    return results


def run_cell(column: Column, case: str, work: Path, mounts: Mounts, scale: Scale | None) -> Result:
    """Run one case. An error that stops it becomes a violation of its result."""
    try:
        return run_case(column, case, work, mounts, scale)
    except (AssertionError, OSError, httpx.HTTPError) as exc:
        return Result(case, "stopped", violations=[f"stopped by {type(exc).__name__}: {str(exc)[:300]}"])


def table(cells: Cells, cases: list[str]) -> str:
    """Return a Markdown table: rows are cases, columns are file systems, and violations are listed below."""
    lines = ["| | " + " | ".join(cells) + " |", "|---" * (len(cells) + 1) + "|"]
    for case in cases:
        found = [results.get(case) for results in cells.values()]
        title = next((result.row for result in found if result and result.row != case), case)
        lines.append(f"| {title} | {' | '.join(map(cell, found))} |")
    lines.append("")
    for column, results in cells.items():
        for case, result in results.items():
            lines += [f"- {column}, {case}: {violation}" for violation in result.violations]
    return "\n".join(lines)


def cell(result: Result | None) -> str:
    """Return a result's text; bold if it has violations."""
    if result is None:
        return "-"
    return f"**{result.text}**" if result.violations else result.text


if __name__ == "__main__":
    sys.exit(main())
