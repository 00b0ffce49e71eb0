"""Print what two services on two machines do with one folder, as a table in Markdown.

    python -m tests.volumes.machines [--install] [--fast] [--cases CASE,...] [nfs] [cifs]

It requires root and packages, which it names if they are missing. The exit status is 1 if there is a violation; the
services' logs are then in build/machines.
"""

import argparse
import dataclasses
import secrets
import sys
import time
from typing import cast, get_args

import httpx

from tests.volumes.__main__ import table
from tests.volumes.asking import Pair, Result
from tests.volumes.cases import CASES, FAST, USUAL, Column, Scale
from tests.volumes.machines import Kind, packages
from tests.volumes.machines.services import MachineServices, services_on_machines
from tests.volumes.services import Services

KINDS = get_args(Kind)


def main() -> int:
    """Run the chosen cases and print the table. Return 1 if a result has a violation, and 2 if packages are missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.volumes.machines", description=__doc__.partition("\n")[0])
    parser.add_argument("--install", action="store_true", help="install the packages that are missing")
    parser.add_argument("--fast", action="store_true", help="fewer rounds and changes")
    parser.add_argument("--cases", default=",".join(CASES), help="some of the rows: %(default)s")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    asked = parser.parse_args()
    cases: list[str] = asked.cases.split(",")
    if unknown := (set(asked.kinds) - set(KINDS)) | (set(cases) - set(CASES)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    try:
        packages.provide(install=asked.install)
    except packages.Missing as exc:
        print(exc, file=sys.stderr)
        return 2
    scale = FAST if asked.fast else USUAL
    cells = {kind: run_column(kind, cases, scale) for kind in asked.kinds or KINDS}
    print(table(cells, cases))
    return int(any(result.violations for results in cells.values() for result in results.values()))


def run_column(kind: Kind, cases: list[str], scale: Scale) -> dict[str, Result]:
    """Run the chosen cases on one pair of machines and one folder."""
    results: dict[str, Result] = {}
    began = time.monotonic()
    with services_on_machines(kind) as services:
        print(f"{kind}: both services are ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for case in cases:
            began = time.monotonic()
            results[case] = run_cell(services, case, scale)
            took = time.monotonic() - began
            print(f"{kind} {case}: {results[case].text} ({took:.0f} s)", file=sys.stderr, flush=True)
            if results[case].violations:
                services.keep_logs(packages.CACHE, f"{kind}-{case}")
            services.restart_killed_services()
    return results


def run_cell(services: MachineServices, case: str, scale: Scale) -> Result:
    """Run one case with new names. An error that stops it becomes a violation of its result."""
    pair = Pair(services.pair.a, services.pair.b, services.pair.behind, secrets.token_hex(3))
    try:
        # MachineServices has the members of Services that the scenarios use: pair, hub, kill_a and hold_lease.
        result = CASES[case](cast("Services", dataclasses.replace(services, pair=pair)), Column("", scale=scale))
    except (AssertionError, OSError, httpx.HTTPError) as exc:
        return Result(case, "stopped", violations=[f"stopped by {type(exc).__name__}: {str(exc)[:300]}"])
    result.check(not result.is_refused, "changes are refused, though locks reach the other machine")
    return result


if __name__ == "__main__":
    sys.exit(main())
