"""API keys: reads the TOML file of names, scopes and digests, creates and finds keys, and defines the scopes."""

import codecs
import hashlib
import re
import secrets
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import tomli_w

KEY_PREFIX = "ocr_"
FIELDS = {"name", "scopes", "sha256"}
"""The fields of an entry in the file of keys."""
MAX_NAME_CHARS = 100
RESERVED_NAMES = {"anonymous", "service"}
"""Names that no key may have, because the journal uses them for other actors. A command's actor is `cli:` and a
user."""
CHANGES: Final = "changes"
READS: Final = "reads"


class StatedScope(StrEnum):
    """A scope that states whether it allows changes. By default it counts as allowing them."""

    changes: bool

    def __new__(cls, name: str, does: str = CHANGES) -> Self:
        """Create a scope. `does` is READS if a read-only service allows its requests, else CHANGES."""
        scope = str.__new__(cls, name)
        scope._value_ = name
        scope.changes = does != READS
        return scope

    def is_change(self, method: str) -> bool:
        """True if a read-only service refuses requests with this scope and HTTP method; it refuses every DELETE."""
        return self.changes or method == "DELETE"


class Scope(StatedScope):
    """What a key may do. No scope includes another."""

    READ = "read", READS
    WRITE = "write", CHANGES
    ENGINE = "engine", CHANGES
    AI = "ai", READS
    CONTENT = "content", READS


class KeysError(Exception):
    """The file of keys cannot be used; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the file of keys: the name, the scopes and the SHA-256 of a key, but not the key itself."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes


class Keyring:
    """The API keys of one file."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Read a file of keys. Raises KeysError, whose text says what is wrong in the file."""
        try:
            keys = tuple(_keys_in(path.read_bytes()))
        except OSError as exc:
            raise KeysError(
                f"OCR_API_KEYS_FILE={path} cannot be read ({exc.strerror}). `python -m app keys create` makes one"
            ) from exc
        except (TypeError, ValueError) as exc:
            raise KeysError(
                f"OCR_API_KEYS_FILE={path} is not a file of keys: {exc}. "
                "`python -m app keys new` prints a correct entry"
            ) from exc
        if not keys:
            raise KeysError(f"OCR_API_KEYS_FILE={path} holds no key, so every request would be refused")
        return cls(keys)

    def find(self, token: str) -> Key | None:
        """Return the key that matches a token, or None. The time taken does not depend on the token."""
        digest = digest_of(token)
        found = None
        for key in self.keys:
            if secrets.compare_digest(key.digest, digest):
                found = key
        return found


def new_key() -> str:
    """Return a new key of 256 random bits. A key cannot be guessed, so a fast hash is enough for its digest."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a key. The file holds this digest instead of the key."""
    return hashlib.sha256(token.encode()).digest()


def entry_for(name: str, scopes: list[Scope], key: str) -> str:
    """Return the entry of a key in the file of keys, as TOML. Raises ValueError if the name cannot be used."""
    check_name(name)
    entry = {"name": name, "scopes": list(dict.fromkeys(map(str, scopes))), "sha256": digest_of(key).hex()}
    return tomli_w.dumps({"keys": [entry]})


def check_name(name: str) -> None:
    """Raise ValueError if a key cannot have this name.

    The log and the journal show the name as the actor of a request.
    """
    if not name or name != name.strip():
        raise ValueError(f"the name {name!r} is empty, or begins or ends with a blank")
    if not name.isprintable():
        raise ValueError(f"the name {name!r} has characters that cannot be shown")
    if len(name) > MAX_NAME_CHARS:
        raise ValueError(f"the name {name!r} is longer than {MAX_NAME_CHARS} characters")
    if name in RESERVED_NAMES or name.startswith("cli:"):
        raise ValueError(f"the name {name!r} is reserved: the journal uses it for callers without a key")


def _keys_in(content: bytes) -> Iterator[Key]:
    """Yield the keys of a file. Raises TypeError and ValueError with the first thing that is wrong."""
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it begins with a byte order mark; save it as UTF-8 without one")
    try:
        document = tomllib.loads(content.decode())
    except UnicodeDecodeError as exc:
        raise ValueError(f"it is not UTF-8 ({exc})") from None
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    if unknown := set(document) - {"keys"}:
        raise ValueError(f"it has the unknown field {min(unknown)!r}; each entry begins with [[keys]]")
    entries = document.get("keys")
    if not isinstance(entries, list):
        raise TypeError("it has no entry [[keys]]")
    seen: dict[str | bytes, int] = {}
    for number, entry in enumerate(entries, 1):
        try:
            key = _key_of(entry)
        except (TypeError, ValueError) as exc:
            raise ValueError(f"in entry {number}, {exc}") from None
        for what, value in (("name", key.name), ("sha256", key.digest)):
            if (first := seen.setdefault(value, number)) != number:
                raise ValueError(f"the entries {first} and {number} have the same {what}")
        yield key


def _key_of(entry: object) -> Key:
    """Return the key of one entry. Raises TypeError and ValueError."""
    if not isinstance(entry, dict):
        raise TypeError("it is not a table of fields")
    if unknown := set(entry) - FIELDS:
        raise ValueError(f"the field {min(unknown)!r} is unknown; the fields are name, scopes and sha256")
    if missing := FIELDS - set(entry):
        raise ValueError(f"the field {min(missing)!r} is missing")
    name, scopes, digest = entry["name"], entry["scopes"], entry["sha256"]
    if not isinstance(name, str):
        raise TypeError("the name is not text")
    check_name(name)
    if not isinstance(scopes, list) or not scopes:
        raise ValueError(f"the key {name!r} has no scopes; give a list of {', '.join(Scope)}")
    allowed = frozenset(map(Scope, scopes))
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9A-Fa-f]{64}", digest):
        raise ValueError(f"the sha256 of the key {name!r} does not have 64 hexadecimal digits")
    return Key(name, allowed, bytes.fromhex(digest))
