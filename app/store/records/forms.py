"""The forms of records.

The types of fields are checked strictly; unknown fields, as of a newer version, are ignored.
"""

import math
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError

from app.store.actor import Actor
from app.store.names import problem_with

T = TypeVar("T")

FIRST_YEAR, LAST_YEAR = 1900, 9000
"""The first and the last year of valid times. With times beyond these years, adding a retention or converting to UTC
could leave datetime's range."""
MAX_INTEGER = 1 << 63
MAX_SECONDS = 100 * 366 * 86_400
MAX_RECORD_BYTES = 1 << 20
"""The largest record that is read, in bytes. The records that the service writes have a few hundred bytes to a few
KB."""
MAX_REASON_CHARS = 300
MAX_URL_LENGTH = 2048


class RecordDamaged(Exception):
    """A record does not match its form, is too large, or is not a regular file. The text says what is wrong."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        """`path` is the damaged file; None if the code that catches the exception knows it."""
        super().__init__(reason)
        self.path = path


class RecordNotReadable(RecordDamaged):
    """This service cannot read a record now, but it may be able to later, or a service of a newer version may be."""


def _in_utc(moment: datetime) -> datetime:
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        raise ValueError(f"the year {moment.year} is not between {FIRST_YEAR} and {LAST_YEAR}")
    return moment.astimezone(UTC)


def _model_name(name: str) -> str:
    if reason := problem_with(name):
        raise ValueError(f"it cannot be the name of a model: {reason}")
    return name


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Refuse numbers that cannot be written as JSON again: NaN, infinities, and integers with too many digits."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _storable(each)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, int) and abs(value) >= MAX_INTEGER:
        raise ValueError("a number is too large")
    return value


def _timedelta(seconds: object) -> timedelta:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"it is not a number of seconds, from 0 to {MAX_SECONDS:,}")
    return timedelta(seconds=seconds)


def _actor(fields: object) -> Actor:
    name, request_id = (fields.get("actor"), fields.get("request_id")) if isinstance(fields, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(request_id, str | None):
        raise ValueError("it does not name an actor")  # noqa: TRY004 - pydantic reports ValueError
    return Actor(name, request_id)


Time = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its time zone."""
Size = Annotated[int, Field(ge=0, lt=MAX_INTEGER)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
ModelName = Annotated[str, AfterValidator(_model_name)]
"""A valid model name, so that no record can name a file outside the model folder."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{16}\z")]
"""Sixteen hexadecimal digits, which may be a part of a file's name."""
Word = Annotated[str, Field(min_length=1, max_length=100)]
HeaderText = Annotated[str, Field(pattern=r"^[ -~]*\z", max_length=8192)]
"""Text that may be sent as the value of an HTTP header: printable ASCII."""
Url = Annotated[str, Field(pattern=r"^[!-~]+\z", max_length=MAX_URL_LENGTH)]
"""A URL as it is requested: printable ASCII without spaces."""
Seconds = Annotated[timedelta, BeforeValidator(_timedelta)]
"""A duration, which records state in seconds."""
By = Annotated[Actor, BeforeValidator(_actor)]
"""An actor, as `Actor.to_record` writes it into records."""
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable)]


class RecordForm(Generic[T]):
    """The form of one kind of record, declared by a dataclass: records must match the annotations of its fields."""

    def __init__(self, form: type[T], kind: str, *, max_bytes: int = MAX_RECORD_BYTES) -> None:
        """`kind` names the kind of record in warnings and metrics."""
        self.kind = kind
        self.max_bytes = max_bytes
        self._form = form

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._form)  # created on first use, so that commands start quickly

    def parse(self, data: bytes) -> T:
        """Read a record from JSON. Raises RecordDamaged."""
        try:
            return self._adapter.validate_json(data, strict=True)
        except ValidationError as exc:
            raise RecordDamaged(_reason(exc)) from None

    def check(self, fields: dict[str, Any]) -> T:
        """Build a record from fields that were parsed from JSON. Raises RecordDamaged.

        Unlike `parse`, this check is not strict, because a strict check of Python objects refuses a dictionary for a
        dataclass.
        """
        try:
            return self._adapter.validate_python(fields)
        except ValidationError as exc:
            raise RecordDamaged(_reason(exc)) from None


def _reason(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    text = f"{where}: {first['msg']}" if where else first["msg"]
    return text[:MAX_REASON_CHARS].encode(errors="backslashreplace").decode()
