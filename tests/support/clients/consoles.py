"""The console blocks of the documentation: commands after `$`, each with the answer that the page shows."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path


def steps(text: str) -> list[tuple[str, str]]:
    """Return each command of a page's console blocks with its answer, in order, without the page's line breaks."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for command, answer in re.findall(r"^\$ (.*?)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            found.append((command, one_line(answer)))
    return found


def check_answers(curls: list[tuple[str, str]], url: str, folder: Path, before_each: Callable[[str], object]) -> None:
    """Run each curl against the service at a URL instead of 127.0.0.1:8000, and compare the answer with the page's.

    An ellipsis in an answer stands for any text. `before_each` is called with each command before it runs in `folder`.
    """
    for command, answer in curls:
        before_each(command)
        here = command.replace("127.0.0.1:8000", url.removeprefix("http://"))
        real = subprocess.run(["sh", "-c", here], cwd=folder, capture_output=True, text=True, check=True).stdout
        pattern = ".*?".join(re.escape(part) for part in answer.split("…"))
        assert re.fullmatch(pattern, one_line(real)), f"{command}\nshows   {answer}\nanswers {real}"


def one_line(text: str) -> str:
    """Return a text without its line breaks and the indentation after them."""
    return re.sub(r"\n\s*", "", text)
