"""What a request that sends images has sent: its body, the received images, and the options beside them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

MAX_NAME_CHARS = 255
"""The longest name of an image that is kept; longer names are cut."""


@dataclass(frozen=True, slots=True)
class ImageBody:
    """The body of a request that sends images, or their URLs."""

    content_type: str
    content_length: int
    """The announced length; 0 if the request announces none."""
    chunks: AsyncIterator[bytes]
    password: str | None = field(default=None, repr=False)
    """The password of an encrypted PDF, or None."""


@dataclass(frozen=True, slots=True)
class Image:
    """A received image."""

    path: Path
    """The image's file, alone in its folder; the engine writes results beside it."""
    name: str | None = None
    """The file's name in the form, or its URL without the query; None without either."""
    password: str | None = field(default=None, repr=False)
    """The password of an encrypted PDF, or None."""
    unreadable: str | None = None
    """Why there is no file to read, as of a damaged file in an archive; None if there is one."""


@dataclass(frozen=True, slots=True)
class Received:
    """The images, or their URLs, and the options that a request has sent. The receiver removes the files."""

    folder: Path
    """The folder of the files."""
    images: list[Image]
    """The images in the body; empty if the body has their URLs."""
    fields: dict[str, str]
    """The options in the body, by name; empty if the body is an image."""
    urls: tuple[str, ...] = field(default=(), repr=False)
    """The URLs of the images, which are still to be downloaded. Their queries may have signatures."""
    password: str | None = field(default=None, repr=False)
    """The password of an encrypted PDF, or None."""
    uploads: tuple[str, ...] = ()
    """The ids of the finished uploads that are the images."""
