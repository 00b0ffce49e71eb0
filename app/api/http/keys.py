"""API keys: a TOML file of names, scopes and digests; how a key is made and found; what each scope may do."""

import hashlib
import secrets
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

KEY_PREFIX = "ocr_"
CHANGES: Final = "changes"
READS: Final = "reads"


class StatedScope(StrEnum):
    """A scope that states whether it changes something. One that does not say so counts as changing."""

    changes: bool

    def __new__(cls, name: str, does: str = CHANGES) -> Self:
        """`does` is READS if a read-only service may do it."""
        scope = str.__new__(cls, name)
        scope._value_ = name
        scope.changes = does != READS
        return scope

    def is_change(self, method: str) -> bool:
        """True if a read-only service refuses this method under this scope; DELETE, such as to cancel a job, always."""
        return self.changes or method == "DELETE"


class Scope(StatedScope):
    """What a key may do. No scope includes another."""

    READ = "read", READS
    WRITE = "write", CHANGES
    ENGINE = "engine", CHANGES
    AI = "ai", READS


class KeysError(Exception):
    """The file of keys cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the file. It has the key's digest and not the key."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes


class Keyring:
    """The keys of one file."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """Read a file of keys; raises KeysError."""
        try:
            entries = tomllib.loads(path.read_text())["keys"]
            keys = tuple(
                Key(str(e["name"]), frozenset(map(Scope, e["scopes"])), bytes.fromhex(e["sha256"])) for e in entries
            )
        except OSError as exc:
            raise KeysError(f"{path} cannot be read ({exc.strerror})") from exc
        except (ValueError, KeyError, TypeError) as exc:
            raise KeysError(
                f"{path} is no file of keys: {exc!r}. `python -m app keys new` prints a right entry"
            ) from exc
        if not keys:
            raise KeysError(f"{path} holds no key, so every request would be refused")
        return cls(keys)

    def find(self, token: str) -> Key | None:
        """Return the key whose text is `token`, or None. Takes the same time for every token."""
        digest = digest_of(token)
        found = None
        for key in self._keys:
            if secrets.compare_digest(key.digest, digest):
                found = key
        return found


def new_key() -> str:
    """Return a key of 256 random bits. It cannot be guessed, so its digest needs no slow hash."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a key, which is all that the file holds of it."""
    return hashlib.sha256(token.encode()).digest()


def entry_for(name: str, scopes: list[Scope], key: str) -> str:
    """Return a key's entry in the file, as TOML."""
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[[keys]]\nname = "{name}"\nscopes = [{listed}]\nsha256 = "{digest_of(key).hex()}"\n'
