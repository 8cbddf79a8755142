"""Files written whole or not at all."""

import errno
import glob
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_elsewhere: list[bool] = []


@contextmanager
def unwritten() -> Iterator[None]:
    """Write nothing meanwhile: of several processes that do the same, another one does.

    >>> with unwritten():
    ...     write_atomically("nowhere/notes.txt", "not written")
    """
    _elsewhere.append(True)
    try:
        yield
    finally:
        _elsewhere.pop()


def writing() -> bool:
    """Whether this process writes what it does; see `unwritten`.

    >>> writing()
    True
    """
    return not _elsewhere


def write_atomically(path: str | Path, contents: bytes | str) -> None:
    """Write a file under a temporary name in the same folder, then rename it into place.

    Whoever reads `path`, at any moment and after any crash, finds the old contents or the new ones. An existing
    file keeps its permissions; of a symbolic link, the file that it points to is written. What an earlier write of
    this file left, whose process was killed, is removed.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; `path` is then untouched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "notes.txt"), "whole")
    ...     os.listdir(folder)
    ['notes.txt']
    """
    if not writing():
        return
    target = Path(os.path.realpath(path))
    contents = contents.encode() if isinstance(contents, str) else contents
    sweep(target.parent, [target.name])
    try:
        _replace(target, memoryview(contents))
    except OSError as error:
        error.filename, error.filename2 = str(path), None  # and not the temporary one
        raise


def _replace(target: Path, contents: memoryview) -> None:
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    file = _temporary(target, 0o666 if old is None else 0o600)  # less what the umask takes away
    try:
        with file:
            while contents:
                contents = contents[os.write(file.fileno(), contents) :]
            if old is not None:
                _give_permissions(file.name, old)
            os.fsync(file.fileno())
            if fcntl is None:  # there, no open file can be renamed
                file.close()
            os.replace(file.name, target)
    except BaseException:
        Path(file.name).unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def _temporary(target: Path, mode: int) -> BinaryIO:
    """A new file, locked for as long as it is open: so `sweep` knows it from those whose process is gone."""
    while True:
        path = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        file = open(path, "xb", buffering=0, opener=partial(os.open, mode=mode))  # noqa: SIM115 (the caller closes it)
        _lock(file)
        if path.exists():
            return file
        file.close()  # swept before it was locked


def _lock(file: BinaryIO, *, wait: bool = True) -> bool:
    """Lock an open file; False where that cannot be done."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process has it; or a file system without locks, where nothing is ever swept
        return False
    return True


def _give_permissions(path: str, like: os.stat_result) -> None:
    with suppress(PermissionError, AttributeError):  # to give a file away is root's right, and unknown on Windows
        os.chown(path, like.st_uid, like.st_gid)
    os.chmod(path, stat.S_IMODE(like.st_mode))


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove the temporary files of these names whose process was killed while it wrote them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, ".notes.txt.0123abcd.tmp").touch()
    ...     sweep(Path(folder), ["notes.txt"])
    ...     os.listdir(folder)
    []
    """
    for name in names:
        for left in folder.glob(f".{glob.escape(name)}.????????.tmp"):
            with suppress(OSError), left.open("r+b") as file:
                if _lock(file, wait=False):
                    left.unlink()


def sync_folder(folder: Path) -> None:
    """Have a folder's new names outlive a power cut, where the system can do that.

    Raises:
        OSError: the disk failed.

    >>> sync_folder(Path("."))
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EINVAL, errno.ENOTSUP):  # a folder not to be read; no such call
            raise
