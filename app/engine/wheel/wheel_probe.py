"""Asks the installed wheel, by a program in a separate process, what it offers and which OCR models it needs.

    python -m app.engine.wheel.wheel_probe [NATIVE_FOLDER]

writes the answer to `app/engine/contract/known_wheels/<version>.json`, for a commit: do so after an update of the
vendor's package. NATIVE_FOLDER is the folder that `python -m app provision` fills, by default `native`. Asking the
wheel takes half a minute of CPU and 0.5 GB, so the service never asks it at its start or in its engine process.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from app.engine.contract.wheel_facts import KNOWN, WheelFacts
from app.engine.native.workdir import WorkDirectories

PROGRAM = "app.engine.child.aspose_requirements"
SECONDS = 1800.0
"""How many seconds the answer may take: a busy machine may take fifty times as long as a quiet one."""


class ProbeFailed(Exception):
    """The wheel could not be asked. The message has the last lines that the program printed."""


async def ask_wheel(
    workdirs: WorkDirectories, languages: Sequence[str] = (), *, seconds: float = SECONDS
) -> WheelFacts:
    """Ask the installed wheel for its facts. Raises ProbeFailed, NotWheelFacts and OSError.

    With `languages` the facts have only these languages, which is quick. The program runs at the lowest priority, and
    ends with this call, also if the call is cancelled.
    """
    directory = await asyncio.to_thread(workdirs.prepare)
    process = None
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            PROGRAM,
            *languages,
            cwd=directory,
            env=workdirs.environment(directory),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        async with asyncio.timeout(seconds):
            answer, output = await process.communicate()
    except TimeoutError:
        raise ProbeFailed(f"no answer within {seconds:g} s") from None
    finally:
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await asyncio.to_thread(workdirs.discard, directory)
    if process.returncode:
        raise ProbeFailed(f"exit status {process.returncode}: {output[-2000:].decode(errors='replace').strip()}")
    return WheelFacts.from_json(answer)


async def write_facts(native_dir: Path) -> Path:
    """Write the facts of the installed wheel into the source tree, and return the path of the file."""
    with tempfile.TemporaryDirectory() as folder:
        workdirs = WorkDirectories(Path(folder, "state"), Path(folder), native_dir)
        try:
            facts = await ask_wheel(workdirs)
        finally:
            workdirs.close()
    path = KNOWN / f"{facts.version}.json"
    path.write_text(facts.to_json())
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(write_facts(Path(*sys.argv[1:] or ['native']).resolve()))}\n")
