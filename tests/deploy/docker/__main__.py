"""Run the image with Docker, and print what was checked as a table in Markdown.

    python -m tests.deploy.docker [--keep-image]

It requires root and packages, which it names if they are missing. The exit status is 1 if a check fails.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy.docker import checks
from tests.deploy.docker.daemon import Docker
from tests.deploy.docker.debian import ARCHIVE, CACHE, DEBIAN, Missing, make_archive, provide
from tests.deploy.docker.namespaces import Namespaces
from tests.deploy.docker.pages import write_pages


def main() -> int:
    """Run all checks and print the table. Return 1 if one fails, and 2 if it cannot run on this machine."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.docker", description=__doc__.partition("\n")[0])
    parser.add_argument("--keep-image", action="store_true", help=f"use {ARCHIVE} of an earlier run if there is one")
    asked = parser.parse_args()
    try:
        provide()
    except Missing as exc:
        print(exc, file=sys.stderr)
        return 2
    if not (asked.keep_image and ARCHIVE.exists()):
        make_archive()
    rows: checks.Rows = {}
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        data = Path(folder, "data")
        data.mkdir()
        write_pages(Path(folder))
        try:
            with Namespaces(DEBIAN, data, Path(folder, "log")) as place:
                run_checks(Docker(place), Path(folder), rows)
        except AssertionError as exc:
            print(f"FAILED: {exc}", file=sys.stderr)
            return 1
        finally:
            print(
                "\n".join(["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
            )
    return 0


def run_checks(docker: Docker, pages: Path, rows: checks.Rows) -> None:
    """Run the checks in order, and add to the table what each has found."""
    began = time.monotonic()
    docker.wait_until_started()
    rows["until the daemon answers"] = checks.seconds_since(began)
    for check in (
        checks.load_image,
        checks.start_with_compose,
        checks.restart_after_a_crash,
        checks.stop_and_start,
    ):
        rows |= check(docker)
    rows |= checks.run_as_any_user(docker, pages)
    rows |= checks.outlive_the_oom_killer(docker, pages)


if __name__ == "__main__":
    sys.exit(main())
