"""The bytes of a model's file, as one version of it."""

import os
from io import FileIO
from typing import Self

from app.errors import ModelNotFound
from app.store.inventory import Model, model_at
from app.store.volume.volume import Volume


class ContentChanged(Exception):
    """Another program wrote to the file while it was read."""


class ModelContent:
    """A model's file, opened for reading. A deletion or a replacement of the model does not change what is read.

    Both only rename or unlink the file, and the open file keeps its bytes. So a reader needs no lease, and a slow one
    delays no change. Only another program can write to the file itself, which `read` notices.
    """

    def __init__(self, model: Model, file: FileIO) -> None:
        self.model = model
        self._file = file

    @classmethod
    def open(cls, volume: Volume, name: str) -> Self:
        """Open a model's file. Raises what `Volume.find` raises, and OSError if the file cannot be read."""
        volume.check()
        with volume.parent_of(name) as (folder, leaf):
            volume.find_in(folder, leaf, name)  # refuses what is no regular file
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                file = FileIO(os.open(leaf, flags, dir_fd=folder), "rb")  # closes itself if nobody closes it
            except FileNotFoundError:
                raise ModelNotFound(name) from None
        return cls(model_at(name, os.fstat(file.fileno())), file)

    def read(self, offset: int, count: int) -> bytes:
        """Read up to `count` bytes at an offset, at least one. Raises ContentChanged, and OSError if the disk fails."""
        data = os.pread(self._file.fileno(), count, offset)
        if not data or model_at(self.model.name, os.fstat(self._file.fileno())).etag != self.model.etag:
            raise ContentChanged(self.model.name)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()
