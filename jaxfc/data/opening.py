"""What is asked of a user's file before it is read: that it is a file, and that there is memory for it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxfc.errors import FormatError, OutOfMemoryError, shortened
from jaxfc.memory import check_memory, in_units


def file_size(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        FormatError: it is no regular file: to open a pipe is to wait for whoever writes, a device may never end.
        OSError: there is no such file.

    >>> file_size(Path("/dev/null"))
    Traceback (most recent call last):
    jaxfc.errors.FormatError: /dev/null is no regular file: copy what it holds into one
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(f"{path} is no regular file: copy what it holds into one")
    return status.st_size


def check_room(path: Path, num_bytes: int, what: str = "what it holds") -> None:
    """Raise an OutOfMemoryError unless there is memory for so many bytes of a file, before they are read.

    >>> check_room(Path("x.npy"), 10**18, "its array")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jaxfc.errors.OutOfMemoryError: x.npy: its array needs about 1e+03 PB of memory where ... are free: ...
    """
    check_memory(f"{path}: {what}", num_bytes, "use fewer rows or features")


def check_at_most(where: str, num_bytes: int, most: int) -> None:
    """Raise a FormatError for a part of a known data set that is larger than it can be.

    >>> check_at_most("data_batch_1", 2**60, most=10**8)
    Traceback (most recent call last):
    jaxfc.errors.FormatError: data_batch_1 holds 1.15e+03 PB where at most 100 MB can be: it is damaged or foreign
    """
    if num_bytes > most:
        raise FormatError(
            f"{where} holds {in_units(num_bytes)} where at most {in_units(most)} can be: it is damaged or foreign"
        )


@contextmanager
def damaged(message: str) -> Iterator[None]:
    """Turn whatever a reader raises of a damaged file into a `FormatError`; what the disk says stays as it is.

    Args:
        message: what is wrong with which file; the reader's own words follow in brackets.

    >>> with damaged("x.npz is corrupted"):
    ...     {}["x"]
    Traceback (most recent call last):
    jaxfc.errors.FormatError: x.npz is corrupted (KeyError: 'x')
    """
    try:
        yield
    except (FormatError, OutOfMemoryError):
        raise
    except Exception as error:  # a reader raises nearly anything: MemoryError, RecursionError, struct.error …
        if isinstance(error, OSError) and error.errno:
            raise
        kind = "" if type(error) in (ValueError, EOFError) and str(error) else f"{type(error).__name__}: "
        raise FormatError(f"{message} ({shortened(kind + str(error), 300)})") from error
