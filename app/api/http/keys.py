"""API keys: a TOML file of names, scopes and digests, and how a key is made and recognised."""

import hashlib
import secrets
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

KEY_PREFIX = "ocr_"


class Scope(StrEnum):
    """What a key may do. No scope includes another."""

    READ = "read"
    WRITE = "write"
    ENGINE = "engine"
    AI = "ai"


class KeysError(Exception):
    """The file of keys cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A caller that the file names. The key itself is not kept, only its digest."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes


class Keyring:
    """All the keys of one file."""

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
            raise KeysError(f"{path} holds no key, so nobody could call the service")
        return cls(keys)

    def find(self, token: str) -> Key | None:
        """The key with that text. Takes the same time whichever key it is, and whether it is one."""
        digest = digest_of(token)
        found = None
        for key in self._keys:
            if secrets.compare_digest(key.digest, digest):
                found = key
        return found


def new_key() -> str:
    """A key of 256 random bits. So much chance needs no slow hash: there is nothing to guess."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """What the file holds of a key: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def entry_for(name: str, scopes: list[Scope], key: str) -> str:
    """The lines of the file for a key."""
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[[keys]]\nname = "{name}"\nscopes = [{listed}]\nsha256 = "{digest_of(key).hex()}"\n'
