"""Measures the memory that stays after each of fifty cycles of load, spell check, keywords, query and release.

    python benchmarks/engine_cycles.py [CYCLES]

Takes about five minutes. One party is the real service with the real AsposeAI, llama.cpp and a model that the benchmark
writes (tests/support/files/tiny_gguf.py). The other is a script that uses AsposeAI in its own process as the tutorials
do, with `free_resources()`. Memory is proportional (PSS), summed over all processes of a party. After every release the
whole of /proc is searched for the model. Then releases of a model of 400 MB are timed.
"""

import contextlib
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
from common import ROOT, Server, print_table

from app.engine.contract.processors import DEFAULT_MODEL
from app.engine.native.workdir import WorkDirectories
from tests.support.files import tiny_gguf

CYCLES = 50
SHOWN = (1, 2, 5, 10, 20, 30, 40, 50)
RELEASES = 7
LARGE_BYTES = 400 << 20
TEXT = "The quik brown fox jumps ovr the lazy dog"
MB = 1e6


def main(cycles: int) -> None:
    """Run the cycles in the service and in one process, time releases, and print the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = tiny_gguf.write(folder / "models" / DEFAULT_MODEL)
        ours = list(cycle_service(folder, model, cycles))
        theirs = list(cycle_in_process(folder, cycles))
        rows = [
            (f"{number}", f"{ours[number - 1]:.0f}", f"{theirs[number - 1]:.0f}")
            for number in SHOWN
            if number <= cycles
        ]
        print_table(
            "Memory after so many releases, MB", ("releases", "this service, all of it", "AsposeAI in process"), rows
        )
        print(
            f"Service, last against first: {ours[-1] / ours[0] - 1:+.1%}; nothing of the model in /proc {cycles} times."
        )
        tiny_gguf.write(model, size_bytes=LARGE_BYTES)
        answered, ready, returned = (list(values) for values in zip(*time_releases(folder, RELEASES), strict=True))
        print_table(
            f"Releasing a model of {model.stat().st_size / MB:.0f} MB, {RELEASES} times",
            ("", "median", "max"),
            [
                ("POST /engine/release to its answer, ms", *two(answered, 1000)),
                ("the same to ready again, ms", *two(ready, 1000)),
                ("bytes that came back, MB", *two(returned, 1 / MB)),
            ],
        )


def two(values: list[float], factor: float) -> tuple[str, str]:
    """Return the median and the maximum, multiplied by a factor."""
    return f"{statistics.median(values) * factor:.0f}", f"{max(values) * factor:.0f}"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, httpx.Client]]:
    """Run the service with a client."""
    with (
        Server.service(folder / "models", folder / "state", OCR_NATIVE_DIR=ROOT / "native") as server,
        httpx.Client(base_url=server.url, timeout=300) as client,
    ):
        server.wait_for("/readyz")
        yield server, client


def cycle_service(folder: Path, model: Path, cycles: int) -> Iterator[float]:
    """Yield the megabytes of the service and its engine after each release, once the next engine is ready."""
    with serving(folder) as (server, client):
        for _ in range(cycles):
            post(client, "/engine/load", processor="spell-check")
            post(client, "/ai/spell-check", texts=[TEXT])
            post(client, "/ai/keywords", texts=[TEXT], keywords=["fox"])
            post(client, "/ai/query", texts=[TEXT], question="Who jumps?")
            post(client, "/engine/release")
            assert not traces_of(model, folder / "models" / ".store" / "locks" / "models")  # noqa: S101
            server.wait_for("/readyz", since=time.perf_counter())
            tree = psutil.Process(server.process.pid)
            yield sum(each.memory_full_info().pss for each in (tree, *tree.children(recursive=True))) / MB


def cycle_in_process(folder: Path, cycles: int) -> Iterator[float]:
    """Yield the megabytes of a process with AsposeAI after each cycle."""
    with contextlib.closing(WorkDirectories(folder / "naive", folder / "models", ROOT / "native")) as workdirs:
        directory = workdirs.prepare()
        command = [sys.executable, str(Path(__file__).resolve()), "--in-process", str(cycles)]
        environment = workdirs.environment(directory)
        output = subprocess.run(command, cwd=directory, env=environment, check=True, stdout=subprocess.PIPE).stdout
    yield from json.loads(output.splitlines()[-1])


def run_in_process(cycles: int) -> list[float]:
    """Return the megabytes of this process after each cycle, when everything is freed, deleted and collected."""
    from aspose.ocr import ai as vendor  # noqa: PLC0415 - only this script's own child may import it

    def work(ai: vendor.AsposeAI, processor: object) -> None:
        config = vendor.AsposeAIModelConfig()
        config.allow_auto_download = False
        ai.set_post_processor(processor, config)
        ai.run_postprocessor([TEXT])

    after = []
    for _ in range(cycles):
        ai = vendor.AsposeAI()
        keywords, query = vendor.KeywordsAIProcessor(), vendor.NaturalLanguageQueryAIProcessor()
        keywords.set_keywords(["fox"])
        query.set_query("Who jumps?")
        for processor in (vendor.SpellCheckAIProcessor(), keywords, query):
            work(ai, processor)
        ai.free_resources()
        del ai, keywords, query, processor
        gc.collect()
        after.append(psutil.Process().memory_full_info().pss / MB)
    return after


def time_releases(folder: Path, count: int) -> Iterator[tuple[float, float, float]]:
    """Yield for each release the seconds to its answer, the seconds until ready, and the returned bytes."""
    with serving(folder) as (server, client):
        for _ in range(count):
            post(client, "/ai/spell-check", texts=[TEXT])
            began = time.perf_counter()
            release = post(client, "/engine/release")
            answered = time.perf_counter() - began
            yield answered, server.wait_for("/readyz", since=began), release["returned_bytes"]


def post(client: httpx.Client, path: str, **body: object) -> dict[str, float]:
    """POST a JSON body and return the JSON answer."""
    return dict(client.post(path, json=body or None).raise_for_status().json())


def traces_of(model: Path, lock_file: Path) -> list[str]:
    """Return all mappings and descriptors of the model in any process, and all leases on any model."""
    wanted, found = str(model.resolve()), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [line for line in (process / "maps").read_text().splitlines() if wanted in line]
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    found += [str(descriptor)] if wanted in str(descriptor.readlink()) else []
    inode = f":{lock_file.stat().st_ino} "
    return found + [line for line in Path("/proc/locks").read_text().splitlines() if inode in line and "READ" in line]


if __name__ == "__main__":
    if "--in-process" in sys.argv:
        print(json.dumps(run_in_process(int(sys.argv[-1]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES)
