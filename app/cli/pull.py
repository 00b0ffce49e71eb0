"""The command `models pull`. It creates a job, as `POST /pulls` does, and runs it unless a service takes it first."""

import asyncio
import re
import sys
from typing import Any

import anyio
import click
from anyio import to_thread

from app.build import build_jobs, build_pull_runner
from app.cli.console import IN_PART, REFUSED, actor, as_json, exit_with, open_store, printed_at_the_end
from app.cli.wording import in_commands
from app.events import EventName
from app.jobs.folder import Jobs
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.records import Job
from app.pulls.pull_jobs import PullJobs
from app.pulls.pull_partials import keep_partials
from app.pulls.request import IfExists, PullRequest
from app.settings import Settings, load_settings
from app.store import Model, Store

INTERRUPTED = 130
"""The exit status that shells report for a command that Ctrl-C ended."""

OCR_MODEL = re.compile(r"aspose-[^/]+|[^/]+\.ocr")
"""Matches the name of an OCR model, with or without its suffix. No repository of the vendor's hub has such a name."""


@click.command("pull")
@click.argument("source", metavar="ORG/REPO|URL|OCR-MODEL")
@click.argument("file", required=False)
@click.option("--revision", default="main", help="A branch, tag or commit of the repository.")
@click.option("--name", help="The model's name, for a URL.")
@click.option("--sha256", help="The digest that the file must have.")
@click.option("--if-exists", type=click.Choice([each.value for each in IfExists]), default="fail")
@as_json
def pull(source: str, file: str | None, revision: str, *, is_json: bool, **options: str | None) -> None:
    """Pull FILE from a repository of the hub, or a URL. FILE may be a shell pattern.

    An OCR model, such as aspose-ocr-cyrillic-v1, is pulled from OCR_RESOURCES_URL.

    Ctrl-C cancels the pull, and the same command continues it. If a pull of several files fails in part, the models
    that were pulled are printed, and the exit status is 3.
    """
    settings, store = load_settings(), open_store(to_change=True)
    jobs = build_jobs(store)
    request = _request(source, file, revision, options)
    following = _Following(settings, store, jobs, request, is_quiet=is_json or not sys.stderr.isatty())
    with printed_at_the_end(is_json=is_json) as rows:
        try:
            job = asyncio.run(following.run())
        except KeyboardInterrupt:
            rows.extend(following.published)
            if following.job_id:
                keep_partials(store, following.job_id)  # so that the same command continues these files
                PullJobs(store, jobs).cancel(following.job_id)
            sys.exit(INTERRUPTED)
        if job.result is None:
            rows.extend(following.published)
            status = IN_PART if rows else REFUSED
            exit_with(status, in_commands(job.failure.detail) if job.failure else "The pull was cancelled.")
        for warning in job.result.get("warnings", []):
            click.echo(warning, err=True)
        rows.extend(job.result["models"])


class _Following:
    """One pull whose record is polled for progress, whether this process or a service runs the pull."""

    def __init__(self, settings: Settings, store: Store, jobs: Jobs, request: PullRequest, *, is_quiet: bool) -> None:
        self.job_id: str | None = None
        self.published: list[dict[str, Any]] = []
        """The models that this process has published; a service that runs the pull lists them in its journal."""
        self._settings = settings
        self._store = store
        self._jobs = jobs
        self._request = request
        self._is_quiet = is_quiet

    async def run(self) -> Job:
        """Create the pull, wait until it is finished, and return its job. Raises what `PullRunner.ask_for` raises."""
        pull_runner = build_pull_runner(self._settings, self._store, self._jobs, self._on_published, _print_retry)
        try:
            job, _ = await pull_runner.ask_for(self._request, actor())
            self.job_id = job.id
            following = asyncio.create_task(self._finished(job.id))
            if held := await to_thread.run_sync(self._jobs.take, job.id):
                with held:
                    await pull_runner.pull(held)
            return await following
        finally:
            await pull_runner.close()

    async def _on_published(self, model: Model) -> None:
        self.published.append({"name": model.name, "size_bytes": model.size_bytes, "outcome": "pulled"})

    async def _finished(self, job_id: str) -> Job:
        shown = 0
        bar: Any = None
        while not (job := await to_thread.run_sync(self._jobs.get, job_id)).is_finished:
            if bar is None and job.progress.total and not self._is_quiet:
                bar = click.progressbar(length=job.progress.total, label=self._request.target, file=sys.stderr)
            if bar:
                bar.update(job.progress.done - shown)
                shown = job.progress.done
            await anyio.sleep(PROGRESS_INTERVAL_SECONDS)
        if bar:
            bar.update(job.progress.done - shown)
            bar.render_finish()
        return job


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


def _print_retry(event: EventName, fields: dict[str, Any]) -> None:
    """Print why and when the pull is tried again. Otherwise a command that waits for its source would seem to hang."""
    if event is EventName.PULL_RETRIED:
        click.echo(f"{fields['error']} The next attempt is in {fields['pause_seconds']:g} s.", err=True)
