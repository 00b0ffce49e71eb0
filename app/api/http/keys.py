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
    """A scope that states whether it allows changes. A scope without that statement counts as allowing them."""

    changes: bool

    def __new__(cls, name: str, does: str = CHANGES) -> Self:
        """Create a scope. `does` is READS if a read-only service allows its requests, else CHANGES."""
        scope = str.__new__(cls, name)
        scope._value_ = name
        scope.changes = does != READS
        return scope

    def is_change(self, method: str) -> bool:
        """True if a read-only service refuses this HTTP method under this scope. It always refuses DELETE."""
        return self.changes or method == "DELETE"


class Scope(StatedScope):
    """What a key may do. No scope includes another."""

    READ = "read", READS
    WRITE = "write", CHANGES
    ENGINE = "engine", CHANGES
    AI = "ai", READS


class KeysError(Exception):
    """The file of keys cannot be used; the message has the reason."""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the file of keys: the name, the scopes and the SHA-256 of a key, but not the key."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes


class Keyring:
    """The API keys of one file."""

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
                f"{path} is not a file of keys: {exc!r}. `python -m app keys new` prints a correct entry"
            ) from exc
        if not keys:
            raise KeysError(f"{path} holds no key, so every request would be refused")
        return cls(keys)

    def find(self, token: str) -> Key | None:
        """Return the key that matches a token, or None. The time taken does not depend on the token."""
        digest = digest_of(token)
        found = None
        for key in self._keys:
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
    """Return the entry of a key in the file of keys, as TOML."""
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[[keys]]\nname = "{name}"\nscopes = [{listed}]\nsha256 = "{digest_of(key).hex()}"\n'
