"""The bytes of a model's file, as one version of it."""

import os
from io import FileIO
from typing import Self

from app.errors import ModelNotFound, NotAModel
from app.store.inventory import Model, model_at, what_instead
from app.store.volume.refusals import REPLACED_ERRORS
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
            file = FileIO(open_model(volume, folder, leaf, name), "rb")  # closes itself if nobody closes it
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


def open_model(volume: Volume, folder: int, leaf: str, name: str) -> int:
    """Open the file of a model that was just found, given its open folder and the last part of its name.

    Returns a descriptor. Raises ModelNotFound or NotAModel if another program has removed or replaced the file
    meanwhile, and OSError if the file cannot be read.
    """
    try:
        file = os.open(leaf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as exc:
        if exc.errno not in REPLACED_ERRORS:
            raise
        volume.find_in(folder, leaf, name)
        raise ModelNotFound(name) from None  # replaced twice
    if what := what_instead(os.fstat(file).st_mode):
        os.close(file)
        raise NotAModel(name, what)
    return file
