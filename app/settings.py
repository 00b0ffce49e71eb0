"""Every setting: its unit, its default, and its environment variable, which is `OCR_` and the name in capitals."""

import difflib
import ipaddress
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "OCR_"
LONGEST = timedelta(days=36_500)
"""More than a century from now, a date may be one that no calendar has."""
URL = r"https?://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\s\[\]]+)(:[0-9]{1,5})?(/[^?#\s]*)?"
"""Without a password, which would be shown with it, and without what belongs to one request."""
VISIBLE = r"[!-~]*"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    """'90s', '30m', '24h', '7d', a number of seconds; ISO 8601 is left to pydantic."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())):
        try:
            return timedelta(**{UNITS[match[2] or "s"]: float(match[1])})
        except OverflowError:
            return timedelta.max  # which is too long as well
    return value


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _at_least(least: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < least:
            raise ValueError(f"should be at least {least.total_seconds():g}s")
        if value > LONGEST:
            raise ValueError(f"should be at most {LONGEST.days}d")
        return value

    return AfterValidator(check)


def _urls(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(URL, value):
            raise ValueError(f"should hold URLs such as https://models.example/ocr/, and {value!r} is none")
    return values


Duration = Annotated[timedelta, BeforeValidator(_duration), _at_least(timedelta(0))]
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class SettingsError(Exception):
    """The environment is not usable; the text names each variable and what it should be."""


class Settings(BaseSettings):
    """Read once, at start. Durations are written '90s', '30m', '24h' or '7d'; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True, extra="forbid")

    host: str = "127.0.0.1"
    """The address to listen on. Beyond loopback it takes OCR_API_KEYS_FILE, or OCR_ALLOW_ANONYMOUS=true."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The TCP port to listen on; 0 for any free one, which the log then names."""
    root_path: Annotated[str, Field(pattern=r"^(/[^/]+)*$")] = ""
    """The path prefix under which a reverse proxy serves this service, such as '/ocr'."""
    allowed_hosts: CommaSeparated = ()
    """Host names that requests may address; '*' for any. Default: any with keys, only loopback's names without."""

    models_dir: Path = Path("data/models")
    """The model folder; created when absent."""
    state_dir: Path = Path("data/state")
    """Where engine processes have their working directories; created when absent, left empty."""
    native_dir: Path = Path("native")
    """What `python -m app provision` fills: OpenSSL 1.1 and llama.cpp, for recognition and AI; may be missing."""
    old_patterns: CommaSeparated = ("old_*",)
    """Shell patterns of stale models, matched against the whole name and its last part."""
    protected: CommaSeparated = ()
    """Shell patterns of models that must not be deleted; the API cannot lift them."""
    trash_retention: Duration = timedelta(hours=24)
    """How long a deleted model can be restored; 0 deletes at once."""
    single_service: bool = False
    """States that this service alone uses the folder, so that it may change it where locks reach no other machine."""
    job_retention: Annotated[Duration, _at_least(timedelta(seconds=10))] = timedelta(hours=24)
    """How long a finished job can be asked about."""
    partial_retention: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(hours=24)
    """How long an unfinished resumable upload or pull is kept after its last byte came."""

    api_keys_file: Path | None = None
    """A TOML file of API keys; `python -m app keys new` writes its entries. Without it nobody needs a key."""
    allow_anonymous: bool = False
    """Serve beyond loopback without keys: anybody who reaches the port may delete models."""
    read_only: bool = False
    """Refuse every change with 403, sweep no trash, begin no jobs: for a service beside one that keeps the folder."""
    max_body_bytes: Annotated[int, Field(ge=0)] = 1 << 20
    """The largest request body that is read, in bytes, uploads excepted; beyond it the answer is 413."""
    max_upload_bytes: Annotated[int, Field(ge=0)] = 0
    """The largest model that may be uploaded, in bytes; beyond it the answer is 413. 0 for no limit but the disk."""
    max_uploads: Annotated[int, Field(ge=1)] = 4
    """Uploads that may come at once; one more is answered 503."""
    upload_stall_timeout: Duration = timedelta(seconds=60)
    """How long an upload may send nothing before it is given up with 408; 0 for ever."""

    max_image_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    """The largest image or PDF that is recognised, in bytes; beyond it the answer is 413."""
    max_image_pixels: Annotated[int, Field(ge=1)] = 40_000_000
    """The largest page that is recognised, in pixels, width times height; an A4 page at 600 dpi has 35 million."""
    max_image_pages: Annotated[int, Field(ge=1, le=1000)] = 50
    """Pages that are recognised in one call; a longer document is read in parts, with `pages`."""
    max_image_files: Annotated[int, Field(ge=1)] = 20
    """Files that one recognition job may have, each of `OCR_MAX_IMAGE_BYTES` at most; beyond it the answer is 422."""
    recognition_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=5)
    """How long one recognition may take before it is answered 504 and the engine is replaced."""

    hub_endpoint: Annotated[str, Field(pattern=f"^{URL}$")] | None = None
    """The hub that repositories are pulled from, such as a mirror; without it, the one huggingface_hub knows."""
    hub_token: SecretStr | None = None
    """A token for the hub's private and gated repositories; it is sent to the hub alone."""
    hub_token_file: Path | None = None
    """A file that holds the token, in place of OCR_HUB_TOKEN."""
    pull_allowed_urls: Annotated[CommaSeparated, AfterValidator(_urls)] = ()
    """URLs below which plain URLs may be pulled, redirects included; without any only repositories may."""
    pulls_at_once: Annotated[int, Field(ge=1)] = 2
    """Pulls that run at once on this service; others wait, for this one or another on the folder."""
    pull_retries: Annotated[int, Field(ge=0)] = 8
    """Failures in a row, none of which brought a byte, after which a pull is given up."""
    pull_retry_pause: Duration = timedelta(seconds=1)
    """The pause before the first retry; it doubles up to a minute, and is longer where Retry-After says so."""
    pull_stall_timeout: Duration = timedelta(seconds=60)
    """How long a pull's connection may bring nothing before it is tried anew; 0 for ever."""

    license_file: Path | None = None
    """An Aspose licence file for the engine; without it AsposeAI runs in evaluation mode."""
    engine_class: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] = "app.engine.child.aspose_ai:AsposeAIEngine"
    """The import string of the engine; another one than the default is for tests."""
    engine_start_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=30)
    """How long an engine process may take to become ready before it is replaced."""
    engine_restart_budget: Annotated[int, Field(ge=0)] = 5
    """How often in a row the engine is restarted after dying by itself before it is given up for a minute."""
    engine_stable_after: Duration = timedelta(seconds=30)
    """How long an engine must have been ready for its earlier deaths to be forgiven."""
    engine_queue_size: Annotated[int, Field(ge=0)] = 7
    """Calls that may wait while one runs; one more is answered 503."""

    engine_load_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=5)
    """How long a model may take to load before the engine process is killed and the answer is 504."""
    engine_call_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=2)
    """How long the engine may work on one text; a request may ask for less. Then its process is killed: 504."""
    engine_idle_release: Duration = timedelta(minutes=15)
    """How long the engine may go unused, once it was used, before it is released; 0 for ever."""
    engine_memory_limit: Annotated[int, Field(ge=0)] = 0
    """Bytes that the engine may hold, the model included; when it grew past that it is replaced. 0 for any."""
    ai_max_text_bytes: Annotated[int, Field(ge=1, le=131072)] = 3500
    """The longest text for a model, in UTF-8, with its keywords or question; for a spell check, the longest line."""

    shutdown_grace: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=20)
    """The longest a shutdown may take: half for running requests, half for the engine."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """How to log: 'console' for people, 'json' for machines, 'auto' by whether stderr is a terminal."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events to log."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody needs a key."""
        return self.api_keys_file is None

    def read_hub_token(self) -> str | None:
        """The hub's token, wherever it is, or None; raises SettingsError when it cannot be read or is none."""
        variable, token = "OCR_HUB_TOKEN", self.hub_token.get_secret_value() if self.hub_token else ""
        if self.hub_token_file is not None:
            variable = f"OCR_HUB_TOKEN_FILE={self.hub_token_file}"
            try:
                token = self.hub_token_file.read_text()
            except (OSError, UnicodeDecodeError) as exc:
                raise SettingsError(f"{variable} cannot be read: {exc}") from exc
        token = token.strip()  # a secret made by `echo` ends with a line end
        # What no header can hold would be quoted, token and all, by the error of whoever tries to send it.
        if not re.fullmatch(VISIBLE, token):
            raise SettingsError(f"{variable}: a token is one line of ASCII without spaces, and this is none")
        return token or None

    @model_validator(mode="after")
    def _secure_by_default(self) -> "Settings":
        if self.is_anonymous and not self.is_loopback and not self.allow_anonymous:
            msg = (
                f"OCR_HOST={self.host} is reachable from other machines, and without OCR_API_KEYS_FILE anybody there "
                "could delete models. Name a file of keys (`python -m app keys new` makes entries), or say "
                "OCR_ALLOW_ANONYMOUS=true"
            )
            raise ValueError(msg)
        return self


def load_settings() -> Settings:
    """Read the environment; raises SettingsError with one line for each wrong variable."""
    try:
        return Settings()
    except ValidationError as exc:
        raise SettingsError("\n".join(_explain(error) for error in exc.errors())) from None


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """A sentence for each `OCR_...` variable that is no setting. No error: Kubernetes sets some of its own."""
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    sentences = []
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            sentences.append(f"{variable} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
    return sentences


def _explain(error: ErrorDetails) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    about = (Settings.model_fields[name].description or "").strip()
    return f"{PREFIX}{name.upper()}={error['input']!s}: {error['msg']}. It is: {about}"
