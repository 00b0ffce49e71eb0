"""The command `models pull`, which fetches models from a hub, a URL or the site of the OCR models."""

import re
import sys
from typing import Any

import click

from app.cli.connection import backend, on_backend
from app.cli.console import IN_PART, REFUSED, as_json, exit_with, note, printed_at_the_end
from app.cli.progress import progress_bar
from app.cli.wording import in_commands
from app.pulls.request import IfExists, PullRequest

INTERRUPTED = 130
"""The exit status that shells report for a command that Ctrl-C ended."""

OCR_MODEL = re.compile(r"aspose-[^/]+|[^/]+\.ocr")
"""Matches the name of an OCR model, with or without its suffix. No repository of the vendor's hub has such a name."""
COLUMNS = ("name", "size_bytes", "sha256", "outcome")


@click.command("pull")
@click.argument("source", metavar="ORG/REPO|URL|OCR-MODEL")
@click.argument("file", required=False)
@click.option("--revision", default="main", help="A branch, tag or commit of the repository.")
@click.option("--name", help="The model's name, for a URL.")
@click.option("--sha256", help="The digest that the file must have.")
@click.option("--if-exists", type=click.Choice([each.value for each in IfExists]), default="fail")
@as_json
@on_backend
def pull(source: str, file: str | None, revision: str, *, is_json: bool, **options: str | None) -> None:
    """Pull FILE from a repository of the hub, or a URL. FILE may be a shell pattern.

    An OCR model, such as aspose-ocr-cyrillic-v1, is pulled from OCR_RESOURCES_URL.

    Ctrl-C cancels the pull, and the same command continues it. If a pull of several files fails in part, the models
    that were pulled are printed, and the exit status is 3. With --url, the service pulls with its own settings.
    """
    request = _request(source, file, revision, options)
    watch = _Watch(request.target, is_quiet=is_json)
    with printed_at_the_end(COLUMNS, is_json=is_json) as rows:
        try:
            end = backend().pull(request, watch)
        finally:
            watch.close()
        if end.job is None:
            rows.extend(end.published)
            sys.exit(INTERRUPTED)
        if end.job["result"] is None:
            rows.extend(end.published)
            failure = end.job["error"]
            exit_with(
                IN_PART if rows else REFUSED, in_commands(failure["detail"]) if failure else "The pull was cancelled."
            )
        for warning in end.job["warnings"]:
            note(warning)
        rows.extend(end.job["result"]["models"])


class _Watch:
    """Shows the progress of a pull, and why it is tried again."""

    def __init__(self, label: str, *, is_quiet: bool) -> None:
        self._label = label
        self._is_quiet = is_quiet
        self._bar: Any = None
        self._shown = 0

    def on_progress(self, done: int, total: int | None) -> None:
        """Show how many bytes have come, once the total is known."""
        if self._is_quiet or not total:
            return
        if self._bar is None:
            self._bar = progress_bar(total, self._label)
        self._bar.update(done - self._shown)
        self._shown = done

    def on_retry(self, error: str, pause_seconds: float) -> None:
        """Print why and when the pull is tried again. Otherwise a command that waits for its source seems to hang."""
        note(f"{error} The next attempt is in {pause_seconds:g} s.")

    def close(self) -> None:
        """End the line of the bar."""
        if self._bar:
            self._bar.render_finish()


def _request(source: str, file: str | None, revision: str, options: dict[str, str | None]) -> PullRequest:
    """Return the request for the command's arguments; raises UsageError if they contradict each other."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if "://" in source:
        given["url"] = source
    elif file is None and OCR_MODEL.fullmatch(source):
        given["resource"] = source
    else:
        given |= {"repository": source, "revision": revision}
    if file:
        given["files" if re.search(r"[*?\[]", file) else "file"] = file
    try:
        return PullRequest(**given | {"if_exists": IfExists(given["if_exists"])})
    except ValueError as exc:
        raise click.UsageError(str(exc)) from None
