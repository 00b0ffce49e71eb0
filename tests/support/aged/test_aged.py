"""The library `aged.c`: one process runs with it, and this process, which changes the folder, runs without it."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.aged import AgedPython

SECONDS = 60.0
Start = Callable[..., AgedPython]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the aged folder, which has one file."""
    folder = tmp_path / "aged"
    folder.mkdir()
    (folder / "a").write_text("first")
    return folder


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start processes with the library."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(AgedPython(**{"root": folder, "seconds": SECONDS, **settings}))


@contextmanager
def refuses(number: int) -> Iterator[None]:
    """Expect an OSError with this number."""
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == number


def replace(folder: Path, name: str, text: str) -> None:
    """Replace a file as another machine does: with a new file of the same name."""
    (folder / "new").write_text(text)
    (folder / "new").rename(folder / name)


READ = "Path(path).read_text()"
INODE = "os.stat(path).st_ino"
ITEMS = "sorted(os.listdir(path))"


def test_a_rename_elsewhere_is_seen_when_the_entry_expires(start: Start, folder: Path) -> None:
    """`stat` and `open` see another process's rename only when the cached entry expires; using it does not renew it."""
    aged, old, new = start(), str(folder / "a"), str(folder / "b")
    inode = aged(INODE, path=old)
    with refuses(errno.ENOENT):
        aged(INODE, path=new)
    (folder / "a").rename(folder / "b")

    for _ in range(2):
        assert aged(INODE, path=old) == inode
        assert aged(READ, path=old) == "first"
        assert aged("os.access(path, os.R_OK)", path=old)
        with refuses(errno.ENOENT):
            aged(INODE, path=new)
        with refuses(errno.ENOENT):
            aged(READ, path=new)
        assert not aged("os.access(path, os.R_OK)", path=new)
        aged.let_pass(SECONDS * 0.45)
    aged.let_pass(SECONDS * 0.2)
    with refuses(errno.ENOENT):
        aged(INODE, path=old)
    assert aged(READ, path=new) == "first"


def test_entries_expire_by_the_clock(start: Start, folder: Path) -> None:
    """A cached entry expires by the clock after AGED_SECONDS."""
    aged, path = start(seconds=0.2), str(folder / "b")
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").touch()
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    time.sleep(0.25)
    assert aged(INODE, path=path)


def test_all_spellings_of_a_path_share_an_entry(start: Start, folder: Path) -> None:
    """Relative paths, paths through a symbolic link and other spellings of a path share one cached entry."""
    aged = start()
    link = folder.parent / "link"
    link.symlink_to(folder)
    aged(INODE, path=str(folder / "a"))
    (folder / "a").unlink()

    opened = aged("os.open(path, os.O_RDONLY)", path=str(folder))
    assert aged("os.stat('a', dir_fd=opened, follow_symlinks=False).st_size", opened=opened) == 5
    assert aged(INODE, path=str(link / "a"))
    assert aged(READ, path=f"{folder}/./a") == "first"
    assert aged("os.fdopen(os.open('a', os.O_RDONLY, dir_fd=opened)).read()", opened=opened) == "first"


def test_attributes_by_name_are_cached(start: Start, folder: Path) -> None:
    """`stat` returns cached attributes unless AGED_ATTRIBUTES=0; `fstat` of an open file returns the present ones."""
    aged, fresh, path = start(), start(attributes=0), str(folder / "a")
    size = "os.stat(path).st_size"
    assert [aged(size, path=path), fresh(size, path=path)] == [5, 5]
    with (folder / "a").open("a") as file:
        file.write(" and more")
    os.link(folder / "a", folder / "b")

    assert [aged(size, path=path), fresh(size, path=path)] == [5, 14]
    assert [aged("os.stat(path).st_nlink", path=path), fresh("os.stat(path).st_nlink", path=path)] == [1, 2]
    assert aged("os.fstat(os.open(path, os.O_RDONLY)).st_size", path=path) == 14


def test_forever_keeps_entries_of_existing_files(start: Start, folder: Path) -> None:
    """With AGED_FOREVER=1 an entry lasts as long as its file has any name; an entry without a file still expires."""
    aged, path = start(forever=1), str(folder / "a")
    inode = aged(INODE, path=path)
    with refuses(errno.ENOENT):
        aged(INODE, path=str(folder / "c"))
    (folder / "a").rename(folder / "b")
    (folder / "c").touch()

    aged.let_pass(SECONDS * 100)
    assert aged(INODE, path=path) == inode
    assert aged(INODE, path=str(folder / "c")) != inode
    (folder / "b").unlink()
    with refuses(errno.ENOENT):
        aged(INODE, path=path)


def test_open_of_an_unlinked_file(start: Start, folder: Path) -> None:
    """`open` opens the cached file though it was unlinked; with AGED_ASKS_AGAIN=1 it looks the name up again."""
    aged, asking, path = start(), start(asks_again=1), str(folder / "a")
    for each in (aged, asking):
        each(INODE, path=path)
    replace(folder, "a", "second")

    assert [aged(READ, path=path), asking(READ, path=path)] == ["first", "second"]
    (folder / "a").unlink()
    with refuses(errno.ENOENT):
        asking(READ, path=path)


def test_link_uses_the_cached_file(start: Start, folder: Path) -> None:
    """`link` links the cached file, also if another process has moved it and put another file at its name."""
    aged, path = start(), str(folder / "a")
    aged(INODE, path=path)
    (folder / "a").rename(folder / "moved")
    (folder / "a").write_text("second")

    aged("os.link(path, to)", path=path, to=str(folder / "link"))

    assert (folder / "link").read_text() == "first"
    assert (folder / "link").samefile(folder / "moved")
    assert aged("os.stat(path).st_nlink", path=str(folder / "link")) == 2


def test_link_of_an_unlinked_file(start: Start, folder: Path) -> None:
    """`link` of a cached file that was unlinked fails; with AGED_ASKS_AGAIN=1 it links the file now at the name."""
    aged, asking, path = start(), start(asks_again=1), str(folder / "a")
    for each in (aged, asking):
        each(INODE, path=path)
    replace(folder, "a", "second")

    with refuses(errno.ENOENT):
        aged("os.link(path, to)", path=path, to=str(folder / "link"))
    asking("os.link(path, to)", path=path, to=str(folder / "link"))
    assert (folder / "link").read_text() == "second"


@pytest.mark.parametrize("change", ["os.rename(path, path + '2')", "os.unlink(path)", "os.link(path, path + '2')"])
def test_a_cached_missing_file_is_not_changed(start: Start, folder: Path, change: str) -> None:
    """A change of a name that is cached as missing fails until the entry expires, although a file is there."""
    aged, path = start(), str(folder / "b")
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").touch()

    with refuses(errno.ENOENT):
        aged(change, path=path)
    aged.let_pass(SECONDS)
    aged(change, path=path)


@pytest.mark.parametrize(
    "change",
    [
        "os.link(other, path)",
        "os.mkdir(path)",
        "os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)",
        "rename2(other, path, 1)",
    ],
)
def test_a_cached_file_prevents_creation(start: Start, folder: Path, change: str) -> None:
    """Creating at a name with a cached file fails with EEXIST until the entry expires, although no file is there."""
    aged, path = start(), str(folder / "a")
    (folder / "other").touch()
    aged(INODE, path=path)
    (folder / "a").unlink()

    with refuses(errno.EEXIST):
        aged(change, path=path, other=str(folder / "other"))
    aged.let_pass(SECONDS)
    aged(change, path=path, other=str(folder / "other"))


@pytest.mark.parametrize(
    "change",
    ["os.link(other, path)", "os.mkdir(path)", "os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)"],
)
def test_the_real_folder_decides_about_creation(start: Start, folder: Path, change: str) -> None:
    """Creating at a name cached as missing fails with EEXIST if a file is there, and updates the entry."""
    aged, path = start(), str(folder / "b")
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").touch()

    with refuses(errno.EEXIST):
        aged(change, path=path, other=str(folder / "a"))
    assert aged(INODE, path=path) == (folder / "b").stat().st_ino


def test_the_real_folder_decides_about_moves_and_removals(start: Start, folder: Path) -> None:
    """`rename` and `unlink` act on the file that is at the name now, not on the cached one."""
    aged, path, target = start(), str(folder / "a"), str(folder / "b")
    aged(INODE, path=path)
    replace(folder, "a", "second")
    aged("os.rename(path, to)", path=path, to=target)
    assert (folder / "b").read_text() == "second"
    assert aged(INODE, path=target) != (folder / "b").stat().st_ino  # the target's entry is the file cached before
    aged("os.mkdir(path)", path=str(folder / "made"))
    aged("os.rmdir(path)", path=str(folder / "made"))
    aged("os.listdir(path)", path=str(folder))
    assert aged(READ, path=target) == "second"  # a new list of the folder has corrected the entry

    replace(folder, "b", "third")
    aged("os.unlink(path)", path=target)
    assert list(folder.iterdir()) == []

    (folder / "b").touch()
    aged.let_pass(SECONDS)
    aged(INODE, path=target)
    (folder / "b").unlink()
    with refuses(errno.ENOENT):
        aged("os.unlink(path)", path=target)
    (folder / "b").touch()
    assert aged("os.stat(path).st_ino", path=target)  # the refusal has updated the entry


def test_a_rename_between_names_of_one_file_does_nothing(start: Start, folder: Path) -> None:
    """A rename between two names that are cached as one file does nothing, as POSIX requires."""
    aged, path, target = start(), str(folder / "a"), str(folder / "b")
    os.link(folder / "a", folder / "b")
    assert aged(INODE, path=path) == aged(INODE, path=target)
    replace(folder, "a", "second")

    aged("os.rename(path, to)", path=path, to=target)

    assert [(folder / "a").read_text(), (folder / "b").read_text()] == ["second", "first"]


def test_a_repeated_rename_does_nothing(start: Start, folder: Path) -> None:
    """A rename does nothing if another process has done it before: both cached names are then one file."""
    aged, path, target = start(), str(folder / "a"), str(folder / "b")
    aged(INODE, path=path)
    (folder / "a").rename(folder / "b")
    (folder / "a").write_text("second")

    aged("os.rename(path, to)", path=path, to=target)

    assert (folder / "a").read_text() == "second"


def test_creating_without_excl_opens_an_existing_file(start: Start, folder: Path) -> None:
    """O_CREAT without O_EXCL, at a name cached as missing, opens the file that another process has created."""
    aged, path = start(), str(folder / "b")
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").write_text("theirs")

    aged("Path(path).open('a').write(' and mine') and None", path=path)

    assert (folder / "b").read_text() == "theirs and mine"
    assert aged(READ, path=path) == "theirs and mine"


def test_writing_goes_to_the_cached_file(start: Start, folder: Path) -> None:
    """Writing, also with O_CREAT and O_TRUNC, goes to the cached file that was moved, not to the one at the name."""
    aged, path = start(), str(folder / "a")
    aged(INODE, path=path)
    (folder / "a").rename(folder / "moved")
    (folder / "a").write_text("second")

    aged("Path(path).write_text('other')", path=path)

    assert [(folder / "moved").read_text(), (folder / "a").read_text()] == ["other", "second"]


def test_own_changes_are_seen(start: Start, folder: Path) -> None:
    """A process sees its own changes at once, also the size that its own writes give a file."""
    aged, path, target = start(), str(folder / "a"), str(folder / "b")
    for seen in (path, target):
        with suppress(OSError):
            aged(INODE, path=seen)

    aged("os.rename(path, to)", path=path, to=target)
    assert aged(READ, path=target) == "first"
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    aged("os.link(path, to)", path=target, to=path)
    assert aged(INODE, path=path) == aged(INODE, path=target)
    assert aged("os.stat(path).st_nlink", path=target) == 2
    aged("os.unlink(path)", path=target)
    assert aged("os.stat(path).st_nlink", path=path) == 1
    with refuses(errno.ENOENT):
        aged(INODE, path=target)
    aged("os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))", path=target)
    assert aged("os.stat(path).st_size", path=target) == 0
    aged("Path(path).open('a').write('more') and None", path=target)
    assert aged("os.stat(path).st_size", path=target) == 4
    aged("os.utime(path, (1, 1))", path=path)
    assert aged("os.stat(path).st_mtime", path=path) == 1
    aged("os.mkdir(path)", path=str(folder / "below"))
    assert aged("os.path.isdir(path)", path=str(folder / "below"))
    aged("os.rmdir(path)", path=str(folder / "below"))
    assert not aged("os.path.isdir(path)", path=str(folder / "below"))


def test_lists_are_cached_until_the_process_changes_the_folder(start: Start, folder: Path) -> None:
    """Every way to list a folder returns the cached list until the process changes it; names stay cached."""
    aged, path = start(), str(folder)
    assert aged(ITEMS, path=path) == ["a"]
    (folder / "b").touch()
    (folder / "a").rename(folder / "c")

    assert aged(ITEMS, path=path) == ["a"]
    assert aged("[item.name for item in os.scandir(path)]", path=path) == ["a"]
    assert aged("[item.name for item in Path(path).glob('*')]", path=path) == ["a"]
    assert aged("os.listdir(os.open(path, os.O_RDONLY))", path=path) == ["a"]
    with refuses(errno.ENOENT):
        aged(INODE, path=str(folder / "never"))
    (folder / "never").touch()
    aged("os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))", path=str(folder / "mine"))
    assert aged(ITEMS, path=path) == ["b", "c", "mine", "never"]
    with refuses(errno.ENOENT):
        aged(INODE, path=str(folder / "never"))
    (folder / "d").touch()
    assert "d" not in aged(ITEMS, path=path)
    aged.let_pass(SECONDS)
    assert "d" in aged(ITEMS, path=path)


def test_lists_can_be_present_ones(start: Start, folder: Path) -> None:
    """With AGED_LISTS=0 lists are present ones, as with FUSE, while names in them are still cached."""
    aged, path = start(lists=0), str(folder)
    assert aged(ITEMS, path=path) == ["a"]
    with refuses(errno.ENOENT):
        aged(INODE, path=str(folder / "b"))
    (folder / "b").touch()

    assert aged(ITEMS, path=path) == ["a", "b"]
    assert not aged("Path(path).exists()", path=str(folder / "b"))


def test_rename_flags_can_be_refused(start: Start, folder: Path) -> None:
    """With AGED_NO_RENAME_FLAGS=1 a rename with flags fails with EINVAL, or with EEXIST if the target exists."""
    aged, path, target = start(no_rename_flags=1), str(folder / "a"), str(folder / "b")

    with refuses(errno.EINVAL):
        aged("rename2(path, to, 1)", path=path, to=target)
    (folder / "b").touch()
    aged.let_pass(SECONDS)
    with refuses(errno.EEXIST):
        aged("rename2(path, to, 1)", path=path, to=target)
    aged("rename2(path, to, 0)", path=path, to=target)
    assert [item.name for item in folder.iterdir()] == ["b"]


def test_nothing_is_aged_outside_of_the_root(start: Start, folder: Path) -> None:
    """Changes outside the root are seen at once, also in a folder whose name begins like the root's."""
    aged, outside = start(), folder.with_name("aged-not")
    outside.mkdir()
    for path in (outside / "a", folder.parent / "b"):
        with refuses(errno.ENOENT):
            aged(INODE, path=str(path))
        assert path.name not in aged(ITEMS, path=str(path.parent))
        path.write_text("seen")
        assert aged(READ, path=str(path)) == "seen"
        assert path.name in aged(ITEMS, path=str(path.parent))


def test_the_cache_can_be_emptied(start: Start, folder: Path) -> None:
    """`aged_forget` empties the cache of names and lists, and `aged_configure` changes the root."""
    aged, path = start(), str(folder / "b")
    aged(ITEMS, path=str(folder))
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").touch()

    aged("library.aged_forget()")
    assert aged(INODE, path=path)
    assert aged(ITEMS, path=str(folder)) == ["a", "b"]
    aged("library.aged_configure(os.fsencode(path), ctypes.c_double(1), 0)", path=str(folder.parent))
    (folder / "b").unlink()
    with refuses(errno.ENOENT):
        aged(INODE, path=path)


def test_time_can_stand_still(start: Start, folder: Path) -> None:
    """After `aged_stand_still(1)` entries expire only by `aged_pass`."""
    aged, path = start(seconds=0.05), str(folder / "b")
    aged("library.aged_stand_still(1)")
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    (folder / "b").touch()
    time.sleep(0.1)
    with refuses(errno.ENOENT):
        aged(INODE, path=path)
    aged.let_pass(0.1)
    assert aged(INODE, path=path)


def test_changes_can_be_delayed(start: Start, folder: Path) -> None:
    """AGED_LATENCY delays changes and does not delay reads."""
    path = str(folder / "a")
    start(latency=1000)(READ, path=path)  # a delay would be longer than a test may take
    aged = start(latency=0.1)
    aged(INODE, path=path)  # wait until the process has started
    began = time.monotonic()
    aged("os.rename(path, path + '2')", path=path)
    assert time.monotonic() - began >= 0.1


def test_the_library_is_thread_safe(start: Start, folder: Path) -> None:
    """Many threads at once each see their own changes."""
    aged = start()
    aged(
        "list(ThreadPoolExecutor(8).map(lambda n: [(Path(path, f'{n}').write_text('x'), os.listdir(path),"
        " os.rename(Path(path, f'{n}'), Path(path, f'r{n}')), Path(path, f'r{n}').stat()) for _ in range(50)] and 0,"
        " range(16)))",
        path=str(folder),
    )
    assert {item.name for item in folder.iterdir()} == {"a", *(f"r{n}" for n in range(16))}
