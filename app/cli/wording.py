"""The sentences of errors in the words of the command line: they name commands in place of HTTP requests."""

import re

from app.errors import ServiceError

KEY = "put the key into OCR_KEY, or into a file that --key-file or OCR_KEY_FILE names"
AGAIN = "Run the command again"

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
        (r"\bsend 'Authorization: Bearer <key>'", KEY),
        (r"\b(?:query|body|header)\.([\w.-]+): ", r"\1: "),
        (r"Try again when GET /engine shows that it is ready", "`engine show` tells when it is ready"),
        (r"leave the model out of the request", "leave out --model"),
        (r"Send less in one request", "Send less at once"),
        (r"Page (\d+) was requested", r"The page \1 was asked for"),
        (r"request fewer pages", "read fewer pages with --pages"),
        (r"Request pages from", "Name pages from"),
        (r"Send its password, percent-encoded, in the header X-PDF-Password", "Put it into a file for --password-file"),
        (
            r"Fetch it with POST .+ the command `ocr-models (models pull \S+)`; or upload .+ Then repeat the request",
            r"Fetch it with `\1`. Then repeat the command",
        ),
        (
            r"Replace it with POST .+ the command `ocr-models (models pull [^`]+)`\. Then repeat the request",
            r"Replace it with `\1`. Then repeat the command",
        ),
        (r", or the request differs from its dry run", ""),
        (r"Make a new dry run and check it", "Run the command again"),
        (r"An upload to /uploads keeps the bytes received; send any other request again", AGAIN),
        (r"Send it again: another service .+ An upload to /uploads keeps the bytes received", AGAIN),
        (r"Send the request again", AGAIN),
        (r"ended the request before it was complete", "ended its work before it was complete"),
        (r"The request's body is larger", "The file is larger"),
    )
)


def sentence_of(error: ServiceError) -> str:
    """Return an error's sentence for a user of the command line; for a model in use, it also names the users."""
    text = in_commands(str(error))
    if blockers := getattr(error, "blockers", None):
        text += " It is used by " + ", ".join(map(_user, blockers)) + "."
    return text


def is_error(error: ServiceError, kind: type[ServiceError]) -> bool:
    """True if an error of the store is of a class, or if a service has answered with the problem of that class."""
    # ModelNotFound is the problem `model-not-found`, and so are the others: a test compares them.
    return (
        isinstance(error, kind)
        or getattr(error, "slug", None) == re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower()
    )


def in_commands(text: str) -> str:
    """Return `text`, the sentence of an error, with commands in place of HTTP requests."""
    for pattern, words in REPLACEMENTS:
        text = pattern.sub(words, text)
    return text


def _user(blocker: dict[str, object]) -> str:
    holder = f" {blocker['holder']!r}" if blocker.get("holder") else ""
    return f"{blocker.get('kind')}{holder} (process {blocker.get('pid')} on {blocker.get('host')})"
