"""Which files may be read and written, and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from utils import UserError

TEMPORARY = re.compile(r"\.tmp-\d+-[0-9a-f]{8}.*", re.DOTALL)  # the names that `atomic_path` gives


def regular_file(path: str | os.PathLike) -> Path:
    """Return the path of a file to read. Raises UserError unless it is a file with something in it.

    A pipe, a device or a socket would be waited for without end.
    """
    path = checked_name(path)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "folder" if stat.S_ISDIR(status.st_mode) else "pipe, a socket or a device"
        raise UserError(f"{path}: it is a {kind}, not a file")
    if status.st_size == 0:
        raise UserError(f"{path}: the file is empty")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: you may not read it")
    return path


def checked_name(path: str | os.PathLike) -> Path:
    """Return the path. Raises UserError for a name that is not UTF-8: some libraries crash on it."""
    try:
        str(path).encode()
    except UnicodeError:
        raise UserError(f"{str(path)!a}: the name is not UTF-8; choose another") from None
    return Path(path)


def refuse_inputs(outputs: Iterable, inputs: Iterable) -> None:
    """Raise UserError if a file to write is one that is read, or two to write are one file.

    By the file behind the name, whatever link or spelling leads to it. None stands for nothing.
    """
    taken = {identity(path): "is one of the inputs" for path in inputs if path is not None}
    for output in outputs:
        if output is not None:
            if identity(output) in taken:
                raise UserError(f"{output} {taken[identity(output)]}: choose another output")
            taken[identity(output)] = "is to be written twice"


def identity(path: str | os.PathLike) -> tuple | str:
    """Return what all names of one file have in common: links, other spellings."""
    name = os.path.realpath(path)  # as `atomic_path` takes it, also where a folder of it is not there
    try:
        status = os.stat(name)
    except OSError:
        return name
    return status.st_dev, status.st_ino


def target_of(path: str | os.PathLike) -> Path:
    """Return the file behind a name that is to be written: of a link, what it leads to.

    Raises OSError where that is no file, or write-protected, which moving a new file there would not heed.
    """
    target = checked_name(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "it is a folder")
    if target.exists() and not target.is_file():
        raise OSError(22, "it is a device or a pipe, not a file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(13, "it is write-protected")
    return target


def make_folder(folder: Path) -> None:
    """Make a folder and those around it, also where they are nested deeper than Python's own way goes."""
    for each in reversed([folder, *folder.parents]):
        if not each.exists():  # of a file in the way, what comes next says that it is no folder
            each.mkdir(exist_ok=True)


def check_made_up(path: Path) -> None:
    """Raise OSError where a name that nobody chose is that of a link, a folder, a pipe, a device, or a file
    that is write-protected.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise FileExistsError(17, f"{path.name} is in the way, and no file of ours: rename it")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(13, f"{path.name} is in the way, and write-protected: rename it")


def create_made_up(path: Path) -> None:
    """Create an empty file under a name that nobody chose, in place of what an earlier run left there.

    Raises OSError where `check_made_up` does; BlockingIOError where another program is writing it.
    """
    check_made_up(path)
    if path.exists():
        descriptor = lock(path)
        path.unlink()
        if descriptor is not None:
            os.close(descriptor)
    path.open("x").close()


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, folder: bool = False) -> Iterator[Path]:
    """Yield an empty file, or folder, next to `path`: moved onto `path` at the end, removed on failure.

    Missing parent folders are made, a link is written through, and the suffix is kept, as many writers go by
    it. What killed processes left there is removed. An OSError inside gets a message that names `path`.
    """
    try:
        target = checked_name(os.path.realpath(path)) if folder else target_of(path)
        make_folder(target.parent)
        remove_litter(target.parent)
        temporary = target.parent / f".tmp-{os.getpid()}-{secrets.token_hex(4)}{target.suffix[:20]}"
        temporary.mkdir() if folder else temporary.touch(exist_ok=False)
        descriptor = None
        try:
            with contextlib.suppress(BlockingIOError):  # another program asks at this moment if it is litter
                descriptor = lock(temporary)  # while it is in use
            yield temporary
            if not folder and temporary.stat().st_size == 0:
                raise OSError(5, "nothing was written")
            os.replace(temporary, target)
        finally:
            if descriptor is not None:
                os.close(descriptor)
            remove(temporary)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: str | os.PathLike, figures: dict) -> None:
    """Write figures as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n")


@functools.lru_cache(maxsize=1000)  # once is enough, however many files are written there
def remove_litter(folder: Path) -> None:
    """Remove what killed processes left in a folder: they have lost their locks."""
    for left in folder.glob(".tmp-*"):
        with contextlib.suppress(BlockingIOError):
            descriptor = lock(left) if TEMPORARY.fullmatch(left.name) else None
            if descriptor is not None:
                remove(left)
                os.close(descriptor)


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def lock(path: Path, wait: bool = False) -> int | None:
    """Lock a file or folder until this process ends, or what is returned is closed: None where there are no
    locks. wait: for another process that holds it, instead of raising BlockingIOError.
    """
    descriptor = None
    try:
        import fcntl  # not on Windows

        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return descriptor
    except (ImportError, OSError) as error:
        if descriptor is not None:
            os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
