"""The sentences of errors in the words of the command line: they name commands in place of HTTP requests."""

import re

from app.errors import ModelInUse, ServiceError

REPLACEMENTS = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"GET /models lists the models", "`models list` lists the models"),
        (r"GET /trash lists the entries", "`trash list` lists the entries"),
        (r"DELETE /models/(\S+)/protection removes", r"`models unprotect \1` removes"),
        (r"GET /storage shows the checks, docs/volumes\.md what to do", "docs/volumes.md says what to do"),
        (r"Upload it with PUT /models/\S+, or pull it with POST /pulls", "Pull it with `models pull`"),
        (
            r"An upload replaces a model if If-Match .+ and a restore never does",
            "`models pull --if-exists replace` replaces a model; `trash restore --as` takes another name",
        ),
        (
            r"is now the version .+ keeps its quotes\)\. Nothing was done; get the model again to see what changed",
            "was changed while the command ran. Nothing was done; run the command again",
        ),
        (
            r"DELETE /trash and DELETE /models/\{name\} with permanent=true",
            "`trash empty --yes` and `models delete --permanent`",
        ),
        (r"; a restore takes it in \?as=", ""),
        (r"Another request or process", "Another process"),
        (r"Have the processes listed in blockers release it", "Have the processes that use it release it"),
        (r"Cancel it, or wait until it has finished", "Wait until it has finished"),
    )
)


def sentence_of(error: ServiceError) -> str:
    """Return an error's sentence for a user of the command line; for a model in use, it also names the users."""
    text = in_commands(str(error))
    if isinstance(error, ModelInUse) and error.blockers:
        text += " It is used by " + ", ".join(map(_user, error.blockers)) + "."
    return text


def in_commands(text: str) -> str:
    """Return `text`, the sentence of an error, with commands in place of HTTP requests."""
    for pattern, words in REPLACEMENTS:
        text = pattern.sub(words, text)
    return text


def _user(blocker: dict[str, object]) -> str:
    holder = f" {blocker['holder']!r}" if blocker.get("holder") else ""
    return f"{blocker.get('kind')}{holder} (process {blocker.get('pid')} on {blocker.get('host')})"
