"""Folders that runs and searches write: one process at a time, and never over what is somebody's own."""

import errno
import itertools
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxfc.artifacts.files import sweep, sync_folder, writing

LOCK = ".jaxfc.lock"
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP)  # what a file system says, a network's perhaps, that has no locks


def first_free(name: str) -> Path:
    """Make the first free folder of `runs/NAME-1`, `runs/NAME-2` …; no two processes are given the same.

    Raises:
        OSError: it cannot be made.

    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     first_free("digits").name, first_free("digits").name
    ('digits-1', 'digits-2')
    """
    for number in itertools.count(1):
        folder = Path("runs", f"{name}-{number}")
        if not writing():
            return folder
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError  # there is always a number more


@contextmanager
def begun(out: Path, kind: str, files: Iterable[str]) -> Iterator[None]:
    """Make a folder for a run or another kind of work, and hold it; see `held`.

    What a beginning that was killed has left, a lock or an unfinished file, is nothing.

    Raises:
        FileExistsError: it is there, and not empty.
        BlockingIOError: as `held`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, begun(Path(folder, "mine"), "run", ["model"]):
    ...     Path(folder, "mine", "model").touch()
    """
    if not writing():
        yield
        return
    occupied = f"{out} is not empty: pass --resume to go on with the {kind} in it, or another --out"
    if out.exists() and not out.is_dir():
        raise FileExistsError(occupied)
    out.mkdir(parents=True, exist_ok=True)
    sync_folder(out.parent)
    with held(out, files):
        if any(path.name != LOCK for path in out.iterdir()):
            raise FileExistsError(occupied)
        yield


@contextmanager
def held(out: Path, files: Iterable[str], *, wait: float | None = 0) -> Iterator[None]:
    """Keep other processes from writing to a folder meanwhile; unfinished files of killed ones are removed.

    Args:
        out: the folder.
        files: the names of what may be written in it.
        wait: how many seconds to wait for another process to leave it; None for as long as it takes.

    Raises:
        BlockingIOError: another process holds it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, held(Path(folder), []):
    ...     with held(Path(folder), []):
    ...         pass
    Traceback (most recent call last):
    BlockingIOError: ... is being written by another process: wait for its end, or name another --out
    """
    if not writing():
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(out / LOCK, timeout=-1 if wait is None else wait)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{out} is being written by another process: wait for its end, or name another --out"
        ) from None
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        warnings.warn(f"{out} cannot be locked here: let no other process write it meanwhile", stacklevel=3)
    try:
        sweep(out, files)
        yield
    finally:
        try:
            with suppress(OSError):
                (out / LOCK).unlink()  # while it is held: who opened it before will find that it is gone
        finally:
            lock.release()


def check_whole(out: Path, model: str, checkpoint: str) -> None:
    """Raise if a folder has a model and lacks the checkpoint to go on from: its model would be overwritten.

    Raises:
        ValueError: it does.

    >>> check_whole(Path("absent"), "model", "checkpoint")
    """
    if (out / model).exists() and not (out / checkpoint).exists():
        raise ValueError(
            f"{out} has a {model} and no {checkpoint} to go on from: restore the checkpoint, or begin anew "
            "in another --out"
        )
