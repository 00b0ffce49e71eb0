"""The files of a job that were received: ZIP archives among them become the files that they have."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anyio import CancelScope, to_thread

from app.api.http import threads
from app.api.http.request_errors import BodyTooLarge, UnsupportedArchive
from app.api.images.archives import FEWER, Archive, ArchiveLimits, DamagedArchive, is_archive, name_of, open_archive
from app.api.images.form_parser import IMAGE_LIMIT_VARIABLE
from app.api.images.received import Image
from app.jobs.units.new_units import NewUnits

NO_FILES = "Put at least one image or document in it; folders, hidden files and __MACOSX/ do not count"
DAMAGED = "it is a ZIP archive that is damaged or cut short"


@dataclass(frozen=True, slots=True)
class _File:
    """A received file."""

    image: Image
    count: int | None
    """How many files it has, if it is an archive; None if it is one file, or an archive that is one."""
    is_damaged: bool = False


async def unpack_archives(new: NewUnits, images: list[Image], limits: ArchiveLimits) -> list[Image]:
    """Unpack the ZIP archives among the files of a job, which are in the order of their numbers; return all files.

    An archive that cannot be opened is one file that cannot be read, and so is an encrypted or damaged file in an
    archive. The archive of an Office document stays one file. Raises UnsupportedArchive, BodyTooLarge, StoreFull and
    OSError.
    """
    files = await to_thread.run_sync(_look_at, images, limits, limiter=threads.images)
    if not any(file.is_damaged or file.count is not None for file in files):
        return images
    total = sum(1 if file.count is None else file.count for file in files)
    if total > limits.most_files:
        largest = max(files, key=lambda file: file.count or 0)
        reason = f"the job would have {total} files, and the limit is {limits.most_files} (OCR_MAX_IMAGE_FILES)"
        raise UnsupportedArchive(largest.image.name, reason, FEWER)
    placed, archives = await to_thread.run_sync(_make_room, new, files, limiter=threads.images)
    for number, archive in archives:
        for position, image in enumerate(await _unpack(new, archive, number, limits)):
            placed[number + position] = image
    return [placed[number] for number in range(total)]


def _look_at(images: list[Image], limits: ArchiveLimits) -> list[_File]:
    """Find the archives. Raises UnsupportedArchive for one without files, and BodyTooLarge."""
    return [_File(image, None) if not is_archive(image.path) else _archive(image, limits) for image in images]


def _archive(image: Image, limits: ArchiveLimits) -> _File:
    try:
        with open_archive(image.path, image.name, limits) as archive:
            if not archive.is_document:
                if not archive.members:
                    raise UnsupportedArchive(image.name, "it has no files to read", NO_FILES)
                return _File(image, len(archive.members))
    except DamagedArchive:
        return _File(image, None, is_damaged=True)
    if image.path.stat().st_size > limits.max_file_bytes:
        raise BodyTooLarge(limits.max_file_bytes, IMAGE_LIMIT_VARIABLE)
    return _File(image, None)


def _make_room(new: NewUnits, files: list[_File]) -> tuple[dict[int, Image], list[tuple[int, Image]]]:
    """Move the files to the numbers that they have beside the files of the archives.

    Returns the files by their numbers, and each archive with the number of its first file.
    """
    placed, archives, number = dict[int, Image](), list[tuple[int, Image]](), 0
    moves: list[tuple[Path, Path]] = []
    for file in files:
        image = file.image
        if file.is_damaged:
            image.path.unlink()
            placed[number] = replace(image, unreadable=DAMAGED)
        elif file.count is None:
            placed[number] = replace(image, path=new.folder.input_of(number))
            moves.append((image.path, placed[number].path))
        else:
            aside = new.folder.inputs / f"archive-{number}"
            image.path.rename(aside)
            archives.append((number, replace(image, path=aside)))
        number += 1 if file.count is None else file.count
    for source, target in reversed(moves):  # the numbers only grow, so a later file is moved out of the way first
        source.rename(target)
    return placed, archives


async def _unpack(new: NewUnits, image: Image, first: int, limits: ArchiveLimits) -> list[Image]:
    """Unpack an archive to the numbers from `first` on, and remove it. Each file takes a thread for itself."""
    found, stack = list[Image](), ExitStack()
    try:
        opening = partial(stack.enter_context, open_archive(image.path, image.name, limits))
        archive: Archive = await to_thread.run_sync(opening, limiter=threads.images)
        for position, member in enumerate(archive.members):
            path = new.folder.input_of(first + position)
            unpack = partial(archive.unpack, position, path, new.require_space)
            unreadable = await to_thread.run_sync(unpack, limiter=threads.images)
            found.append(Image(path, name_of(member), image.password, unreadable))
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(stack.close, limiter=threads.images)
    await to_thread.run_sync(image.path.unlink, limiter=threads.images)
    return found
