"""Every setting with its unit and default. Its environment variable is `OCR_` and the field's name in capitals."""

import base64
import difflib
import ipaddress
import os
import re
import socket
import unicodedata
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.host_names import canonical_host, canonical_origin

ENV_PREFIX = "OCR_"
COMMAND_VARIABLES = ("OCR_URL", "OCR_KEY", "OCR_KEY_FILE")
"""Variables of the command line: the service that commands ask, and the key. The service itself ignores them."""
LONGEST = timedelta(days=36_500)
"""The longest duration that a setting may have. The present time plus a longer duration could exceed what `datetime`
can hold."""
URL = r"https?://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\s\[\]]+)(:[0-9]{1,5})?(/[^?#\s]*)?"
"""Matches a URL without a password, a query and a fragment. A password would be shown in answers and logs."""
QUOTES = "\"'"
ROOT_PATH = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
IMPORT_STRING = r"[\w.]+:\w+"
VISIBLE = r"[!-~]*"
SERVICE_NAME = r"[A-Za-z0-9._-]{1,100}"
NO_SERVICE_NAME = "none"
"""The value of OCR_SERVICE_NAME for a service that tells callers neither its name nor its machine's."""
MAX_HOST_CHARS = 63
KINDS = {
    "int": "should be a whole number, such as 100",
    "bool": "should be true or false",
    "time": "should be a number with a unit, such as 90s, 30m, 24h or 7d",
}
"""What a value should be, in words. A key is the first part of a pydantic error type, such as `int` of `int_type`."""
WEBHOOK_SECRET_PREFIX = "whsec_"  # noqa: S105 - the form of a secret, not one
WEBHOOK_KEY_BYTES = range(24, 65)
"""How many bytes the key of a webhook's signature may have, as Standard Webhooks say."""
COMPATIBLE = ("docling", "mistral", "openwebui")
"""The names of the drop-in addresses."""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    """Convert '90s', '30m', '24h', '7d' or '0' to a duration. Leave other forms, such as ISO 8601's 'P1D', to pydantic.

    Raises ValueError for a number without a unit, except 0. A caller who writes '24' may mean hours, but pydantic would
    read 24 seconds, and the trash would be emptied after that time.
    """
    if not isinstance(value, str) or value.startswith("P"):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value)
    if match is None:
        raise ValueError("should be a number with a unit, such as 90s, 30m, 24h or 7d")
    if not match[2] and float(match[1]) != 0:
        raise ValueError("has no unit; write s, m, h or d after the number, such as 90s, 30m, 24h or 7d")
    try:
        return timedelta(**{UNITS[match[2] or "s"]: float(match[1])})
    except OverflowError:
        return timedelta.max  # the range check refuses it as too long


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


def _form(pattern: str, sentence: str) -> AfterValidator:
    """Return a validator that raises an error with `sentence` if a text does not match the expression `pattern`."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


def _urls(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if not re.fullmatch(URL, value):
            raise ValueError(f"should hold URLs such as https://models.example/ocr/, and {value!r} is not one")
    return values


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if value != "*" and canonical_host(value) is None:
            raise ValueError(
                f"should hold names or addresses without ports and wildcards, or '*'; no request can match {value!r}"
            )
    return values


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    found = []
    for value in values:
        origin = value if value == "*" else canonical_origin(value)
        if origin is None:
            raise ValueError(
                "should hold origins of web pages, such as https://app.example or http://localhost:3000, without paths "
                f"and wildcards, or '*'; no page has the origin {value!r}"
            )
        found.append(origin)
    return tuple(found)


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            network = ipaddress.ip_network(value)
        except ValueError as exc:
            raise ValueError(f"should hold addresses or networks such as 10.1.0.7 or 10.1.0.0/16; {exc}") from None
        if not network.prefixlen:
            raise ValueError(f"should not hold {value}: then any caller could state any address")
    return values


Duration = Annotated[timedelta, BeforeValidator(_duration), _at_least(timedelta(0))]


def _known_compatible(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in COMPATIBLE:
            raise ValueError(f"should be among {', '.join(COMPATIBLE)}; {name!r} is not")
    return tuple(dict.fromkeys(names))


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class SettingsError(Exception):
    """A setting is wrong. The message names each wrong variable and says what its value should be."""


class Settings(BaseSettings):
    """The settings, read once at start. Durations are '90s', '30m', '24h' or '7d'; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, use_attribute_docstrings=True, extra="forbid")

    host: str = "127.0.0.1"
    """The address to listen on; `::` for IPv4 and IPv6. Any but loopback requires API keys or OCR_ALLOW_ANONYMOUS."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The TCP port to listen on; 0 for any free port, whose number is in the log."""
    root_path: Annotated[
        str,
        _form(
            ROOT_PATH,
            "should begin with / and not end with it, and hold letters, digits and - . _ ~ only, such as /models-api",
        ),
    ] = ""
    """The path prefix under which a reverse proxy serves this service, such as '/models-api'."""
    allowed_hosts: Annotated[CommaSeparated, AfterValidator(_hosts)] = ()
    """Host names that requests may use, without ports; '*' for any. Default: any if there are keys, else loopback's."""
    cors_origins: Annotated[CommaSeparated, AfterValidator(_origins)] = ()
    """Origins of web pages that may use the service from a browser (CORS); '*' for any, only with API keys."""
    service_name: (
        Annotated[str, _form(SERVICE_NAME, "should have up to 100 letters, digits and - . _ only, such as ocr-1")]
        | None
    ) = None
    """The service's name in X-Served-By, GET /engines and the log; `none` for no name. Default: host name and port."""
    trusted_proxies: Annotated[CommaSeparated, AfterValidator(_networks)] = ()
    """Addresses or networks of proxies whose X-Forwarded-For is believed: log and journal then have the caller."""
    max_connections: Annotated[int, Field(ge=1)] = 1000
    """The most connections with a running request; more get 503. A new connection replaces the longest idle one."""
    head_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=20)
    """How long the request line and headers of a request may take to arrive; after that the answer is 408."""
    body_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=60)
    """How long a body may take to arrive, uploads and images excepted; after that the answer is 408."""
    keep_alive: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=75)
    """How long an idle connection stays open. Set a longer time than the proxy's, so that the proxy closes it first."""

    models_dir: Path = Path("data/models")
    """The model folder; created if missing."""
    state_dir: Path = Path("data/state")
    """The folder for the engine's working files, outside the model folder; created if missing, empty after shutdown."""
    native_dir: Path = Path("native")
    """The folder that `python -m app provision` fills with OpenSSL 1.1 and llama.cpp, for recognition and AI."""
    old_patterns: CommaSeparated = ("old_*",)
    """Shell patterns of old models, matched against the whole name and its last part."""
    protected: CommaSeparated = ()
    """Shell patterns of models that must not be deleted or replaced; the API cannot remove this protection."""
    trash_retention: Duration = timedelta(hours=24)
    """How long a deleted model can be restored; 0 to delete permanently at once."""
    single_service: bool = False
    """Set to true if no other service uses the folder: changes then do not require locks that reach other machines."""
    job_retention: Annotated[Duration, _at_least(timedelta(seconds=10))] = timedelta(hours=24)
    """How long a finished job and its results are kept."""
    partial_retention: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(hours=24)
    """How long an unfinished resumable upload or pull is kept after its last byte."""

    api_keys_file: Path | None = None
    """A TOML file of API keys; `python -m app keys create` makes it. Without it no key is required."""
    allow_anonymous: bool = False
    """Serve beyond loopback without keys: any client that reaches the port may delete models."""
    read_only: bool = False
    """Refuse every change with 403, run no jobs and no clean-up: for a service beside one that maintains the folder."""
    max_body_bytes: Annotated[int, Field(ge=0)] = 1 << 20
    """The largest request body in bytes, uploads and images excepted; a larger one is answered 413."""
    max_upload_bytes: Annotated[int, Field(ge=0)] = 0
    """The largest upload in bytes; a larger one is answered 413. 0 for no limit but the disk."""
    max_uploads: Annotated[int, Field(ge=1)] = 4
    """How many uploads may run at once; one more is answered 503."""
    max_unfinished_uploads: Annotated[int, Field(ge=1)] = 1000
    """The most unfinished resumable uploads in the folder; one more is answered 429."""
    max_unfinished_uploads_per_key: Annotated[int, Field(ge=1)] = 100
    """The most unfinished resumable uploads of one API key; without keys, of all callers together."""
    upload_stall_timeout: Duration = timedelta(seconds=60)
    """How long an upload may send nothing before it is ended with 408; 0 for no limit."""

    max_image_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    """The largest image or PDF in bytes; a larger one is answered 413."""
    max_image_pixels: Annotated[int, Field(ge=1)] = 40_000_000
    """The largest page in pixels, width times height; an A4 page at 600 dpi has 35 million."""
    max_image_pages: Annotated[int, Field(ge=1, le=1000)] = 50
    """The most pages in one call; request a part of a longer document with `pages`."""
    max_image_files: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """The most files of one recognition job, each of `OCR_MAX_IMAGE_BYTES` at most; more are answered 422."""
    jobs_url: SecretStr | None = None
    """`postgresql://user:password@host/database`: the database of the queue of jobs; without one, the model folder."""
    jobs_url_file: Path | None = None
    """A file that contains this URL, instead of OCR_JOBS_URL."""
    max_waiting_units: Annotated[int, Field(ge=1)] = 20_000
    """The most unfinished files, texts and pulls of one API key, or without keys of all callers; more get 429."""
    image_download_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=1)
    """How long an image that a request gives by its URL may take to download; after that it has the problem 502."""
    recognition_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=5)
    """How long one recognition may take; after that it fails with 504 and the engine process is replaced."""

    compatible: Annotated[CommaSeparated, AfterValidator(_known_compatible)] = ()
    """Other OCR services whose requests this one also answers: `docling`, `mistral`, `openwebui`."""
    compatible_language: Annotated[str, _form("[a-z_]+", "should be a language such as deu or ext_latin")] = "latin"
    """The language of requests to these addresses, which name none: a value of the option `language` of `POST /ocr`."""

    hub_endpoint: (
        Annotated[
            str, _form(URL, "should be a URL without a password, query and fragment, such as https://hub.example")
        ]
        | None
    ) = None
    """The URL of the hub that repositories are pulled from, such as a mirror. Default: huggingface_hub's own."""
    hub_token: SecretStr | None = None
    """The token for private and gated repositories; it is sent to the hub only."""
    hub_token_file: Path | None = None
    """A file that contains the token, instead of OCR_HUB_TOKEN."""
    pull_allowed_urls: Annotated[CommaSeparated, AfterValidator(_urls)] = ()
    """URL prefixes. The URL of a pull or an image and its redirects must be below one; without any, none is fetched."""
    resources_url: Annotated[
        str, _form(f"off|{URL}", "should be a URL without a password, query and fragment, or 'off'")
    ] = "https://github.com/aspose-ocr/resources"
    """The URL of the folder that OCR models are pulled from: a web site with RESOURCES.json and the files; or 'off'."""
    pulls_at_once: Annotated[int, Field(ge=1)] = 2
    """How many pulls receive bytes at once on this service; others wait, here or at another service on the folder."""
    pull_retries: Annotated[int, Field(ge=0)] = 8
    """A pull fails after so many retries in a row without new bytes, or so many restarts from the first byte."""
    pull_retry_pause: Duration = timedelta(seconds=1)
    """The pause before the first retry; it doubles at each retry, up to a minute, and Retry-After can lengthen it."""
    pull_stall_timeout: Duration = timedelta(seconds=60)
    """How long a pull's connection may receive nothing before it is replaced; 0 for no limit."""
    pull_min_rate: Annotated[int, Field(ge=0)] = 4096
    """How many bytes a second a source must send, averaged over OCR_PULL_STALL_TIMEOUT; 0 for any rate."""
    max_pull_bytes: Annotated[int, Field(ge=0)] = 128 << 30
    """The largest file of a pull in bytes; 0 for no limit but the disk."""

    webhook_allowed_urls: Annotated[CommaSeparated, AfterValidator(_urls)] = ()
    """URL prefixes. A webhook must be below one; without any, requests with a webhook are refused."""
    webhook_secret: SecretStr | None = None
    """The secret `whsec_...` that signs webhooks; while you replace it, the new and the old one: `new,old`."""
    webhook_secret_file: Path | None = None
    """A file that contains the secrets, one a line, instead of OCR_WEBHOOK_SECRET."""
    webhook_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=15)
    """How long the receiver of a webhook may take until the head of its answer arrives; then the attempt has failed."""
    webhook_retry_pause: Annotated[Duration, _at_least(timedelta(milliseconds=10))] = timedelta(seconds=5)
    """The pause before a webhook is sent again; it doubles at each failure, to an hour; Retry-After can lengthen it."""
    webhook_retry_time: Duration = timedelta(days=3)
    """The pauses of one webhook together; after that it is given up, and the job shows why."""

    license_file: Path | None = None
    """An Aspose licence file for the engine; without one AsposeAI runs in evaluation mode, which cuts texts."""
    license_required: bool | None = None
    """Refuse to start if there is no licence that the engine accepts. Default: true if OCR_LICENSE_FILE is set."""
    engine_class: Annotated[
        str, _form(IMPORT_STRING, "should be a module and a class, such as package.module:Engine")
    ] = "app.engine.child.aspose_ai:AsposeAIEngine"
    """The import string of the engine's class. Only tests change it."""
    engine_start_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=30)
    """How long an engine process may take to become ready before it is replaced."""
    engine_restart_budget: Annotated[int, Field(ge=0)] = 5
    """How many times in a row a dead engine is restarted promptly; after one more death the restart waits a minute."""
    engine_stable_after: Duration = timedelta(seconds=30)
    """How long the engine must run before its deaths in a row are counted from 0 again."""
    engine_queue_size: Annotated[int, Field(ge=0)] = 7
    """How many calls may wait while one runs; one more is answered 503, unless its API key has less than its share."""

    engine_load_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=5)
    """How long a model may take to load; after that the load fails with 504 and the engine process is replaced."""
    engine_call_timeout: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(minutes=2)
    """How long one text may take; after that it fails with 504 and the engine is replaced. A request may set less."""
    engine_idle_release: Duration = timedelta(minutes=15)
    """How long the engine may stay idle after a call before its memory is released; 0 to never release it."""
    engine_memory_limit: Annotated[int, Field(ge=0, le=1 << 60)] | None = None
    """The most memory of the engine in bytes; 0 for no limit. Default: 7/8 of a container's or half of a machine's."""
    engine_gpu_layers: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many layers of a model a GPU computes; ignored without a licence or a GPU. Default: AsposeAI's choice."""
    engine_context_size: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    """The size of a model's context in tokens; ignored without a licence. Default: AsposeAI's choice."""
    ai_max_text_bytes: Annotated[int, Field(ge=1, le=131072)] = 3500
    """The most UTF-8 bytes of a text and its request's parameters together; for a spell check, of one line."""

    drain_time: Duration = timedelta(0)
    """How long `/readyz` answers 503 after SIGTERM while connections are still taken, before the shutdown begins."""
    shutdown_grace: Annotated[Duration, _at_least(timedelta(seconds=1))] = timedelta(seconds=20)
    """How long a shutdown may take: half for running requests, half for the engine."""
    sbom_file: Path | None = None
    """The CycloneDX file of the installed packages, which `GET /version` names; the image sets it."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """The format of the log: 'console' for people, 'json' for programs, 'auto' for console on a terminal, else JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe level to log."""

    @property
    def resources_site(self) -> str | None:
        """The URL of the folder that OCR models are pulled from; None if there is none."""
        return None if self.resources_url == "off" else self.resources_url

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def served_by(self) -> str | None:
        """The service's name; None if it shall tell none. Two services of one machine have different ports."""
        if self.service_name:
            return None if self.service_name == NO_SERVICE_NAME else self.service_name
        host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:MAX_HOST_CHARS]
        return f"{host}-{self.port or os.getpid()}"

    @property
    def is_anonymous(self) -> bool:
        """True if no key is required."""
        return self.api_keys_file is None

    @property
    def needs_license(self) -> bool:
        """True if the service must not start in evaluation mode."""
        return self.license_file is not None if self.license_required is None else self.license_required

    def require_license_file(self) -> None:
        """Raise SettingsError if a licence is needed and its file is not set, missing, unreadable or empty.

        Only the engine checks the licence itself.
        """
        if not self.needs_license:
            return
        if self.license_file is None:
            raise SettingsError(
                "OCR_LICENSE_REQUIRED=true needs a licence, and OCR_LICENSE_FILE is not set: set it to the path of an "
                "Aspose licence file, or unset OCR_LICENSE_REQUIRED to run in evaluation mode, which cuts texts"
            )
        try:
            with self.license_file.open("rb") as file:
                reason = None if file.read(1) else "it is empty"
        except OSError as exc:
            reason = exc.strerror or str(exc)
        if reason:
            raise SettingsError(
                f"OCR_LICENSE_FILE={self.license_file} cannot be read: {reason}. Correct the path or the rights, or "
                "set OCR_LICENSE_REQUIRED=false: without a licence the engine runs in evaluation mode, which cuts texts"
            )

    def read_hub_token(self) -> str | None:
        """Return the hub's token from its variable or file, None if neither is set. Raises SettingsError if invalid."""
        variable, token = _secret("OCR_HUB_TOKEN", self.hub_token, self.hub_token_file)
        token = token.strip()  # a secret made by `echo` ends with a line end
        # A character that no header can hold makes the HTTP client raise an error that quotes the token.
        if not re.fullmatch(VISIBLE, token):
            raise SettingsError(f"{variable}: a token is one line of ASCII without spaces, and this is not one")
        return token or None

    def read_jobs_url(self) -> str | None:
        """Return the URL of the queue's database from its variable or file, None if neither is set.

        Raises SettingsError if it is not one; the message does not quote it, because it may have a password.
        """
        variable, url = _secret("OCR_JOBS_URL", self.jobs_url, self.jobs_url_file)
        url = url.strip()
        if url and not re.fullmatch(r"postgres(ql)?://[!-~]+", url):
            raise SettingsError(
                f"{variable}: it is not a URL such as postgresql://user:password@host:5432/database. To have the queue "
                "in the model folder, set none"
            )
        return url or None

    @property
    def jobs_url_source(self) -> str:
        """Where the URL of the queue's database comes from, for messages: the variable, or that of its file."""
        return f"OCR_JOBS_URL_FILE={self.jobs_url_file}" if self.jobs_url_file else "OCR_JOBS_URL"

    def read_webhook_secrets(self) -> tuple[str, ...]:
        """Return the secrets that sign webhooks, from their variable or file.

        Raises SettingsError if one is not valid, or if webhooks are allowed and there is none.
        """
        variable, text = _secret("OCR_WEBHOOK_SECRET", self.webhook_secret, self.webhook_secret_file)
        secrets = tuple(each for each in re.split(r"[\s,]+", text) if each)
        if not all(_is_webhook_secret(each) for each in secrets):
            raise SettingsError(
                f"{variable}: a secret is whsec_ and the Base64 of 24 to 64 random bytes, and one of these is not. "
                'This makes one: echo "whsec_$(openssl rand -base64 32)"'
            )
        if self.webhook_allowed_urls and not secrets:
            raise SettingsError(
                "OCR_WEBHOOK_ALLOWED_URLS allows webhooks, which need a secret that signs them: set OCR_WEBHOOK_SECRET "
                'or OCR_WEBHOOK_SECRET_FILE. This makes one: echo "whsec_$(openssl rand -base64 32)"'
            )
        return secrets

    @model_validator(mode="before")
    @classmethod
    def _trim(cls, values: dict[str, object]) -> dict[str, object]:
        """Drop empty values, so that an empty variable counts as unset, and strip white space from all other values.

        A compose file passes an unset variable as an empty one, and a file with Windows line ends adds a CR to each
        value. A value in quotes or with a control character is refused: as a path, it would name another folder.
        """
        trimmed = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
        if wrong := [reason for name, value in trimmed.items() if (reason := _problem_with(name, value))]:
            raise ValueError("\n".join(wrong))
        return {name: value for name, value in trimmed.items() if value != ""}

    @model_validator(mode="after")
    def _secure_by_default(self) -> "Settings":
        if self.is_anonymous and not self.is_loopback and not self.allow_anonymous:
            msg = (
                f"OCR_HOST={self.host} is reachable from other machines, and without OCR_API_KEYS_FILE any of them "
                "could delete models. Name a file of keys (`python -m app keys create` makes one), or set "
                "OCR_ALLOW_ANONYMOUS=true"
            )
            raise ValueError(msg)
        if self.is_anonymous and "*" in self.cors_origins:
            msg = (
                "OCR_CORS_ORIGINS=* lets every web page use the service, and without OCR_API_KEYS_FILE any page that a "
                "browser opens could read and delete models. List the origins of your own pages, or name a file of keys"
            )
            raise ValueError(msg)
        return self


def load_settings() -> Settings:
    """Read the settings from the environment. Raises SettingsError with one line for each wrong variable."""
    try:
        return Settings()
    except ValidationError as exc:
        raise SettingsError("\n".join(_explain(error) for error in exc.errors())) from None


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return a sentence for each `OCR_...` variable that is not a setting.

    Such a variable is no error: Kubernetes may set some for its services.
    """
    known = [*COMMAND_VARIABLES, *(ENV_PREFIX + name.upper() for name in Settings.model_fields)]
    sentences = []
    for variable in sorted(environment):
        if variable.startswith(ENV_PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1)
            sentences.append(f"{variable} is not a setting" + (f"; did you mean {close[0]}?" if close else ""))
    return sentences


def _secret(variable: str, value: SecretStr | None, file: Path | None) -> tuple[str, str]:
    """Return where a secret comes from, for messages, and its text: that of the file if there is one.

    Raises SettingsError if the file cannot be read.
    """
    if file is None:
        return variable, value.get_secret_value() if value else ""
    source = f"{variable}_FILE={file}"
    try:
        return source, file.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{source} cannot be read: {exc}") from exc


def _is_webhook_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
    except ValueError:
        return False
    return text.startswith(WEBHOOK_SECRET_PREFIX) and len(key) in WEBHOOK_KEY_BYTES


def _problem_with(name: str, value: object) -> str | None:
    """Return a sentence about what is certainly wrong with a variable's value; None if nothing is.

    The sentence does not quote the value, which may be secret.
    """
    if not isinstance(value, str):
        return None
    variable = f"{ENV_PREFIX}{name.upper()}"
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES:
        return f"{variable} is in quotes, which would be part of the value: remove the quotes"
    if any(unicodedata.category(character) == "Cc" for character in value):
        return f"{variable} contains a line break or another control character: remove it"
    return None


def _reason(error: ErrorDetails) -> str:
    """Return the sentence that says what a value should be. pydantic's own sentences speak of Python's types."""
    context = error.get("ctx", {})
    match error["type"]:
        case "greater_than_equal":
            return f"should be at least {context['ge']}"
        case "less_than_equal":
            return f"should be at most {context['le']}"
        case "literal_error":
            return f"should be {context['expected']}"
        case kind:
            return KINDS.get(kind.partition("_")[0]) or str(error["msg"]).removeprefix("Value error, ")


def _explain(error: ErrorDetails) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    about = (Settings.model_fields[name].description or "").strip()
    reason = _reason(error)
    return f"{ENV_PREFIX}{name.upper()}={error['input']!s}: {reason}. It is: {about}"
