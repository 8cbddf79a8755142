"""Find a data set's files on disk, or download them once into a cache."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from jaxfc.errors import FormatError


@dataclass(frozen=True)
class Remote:
    """Where a data set's files lie on the web.

    Args:
        name: the data set's name, and that of its folder in the cache.
        base_url: what stands before a file's name in its URL, with the closing slash.
        md5: the MD5 checksum of each file, by the file's name.

    >>> Remote("things", "https://example.org/things/", {"thing.bin": "d41d8cd98f00b204e9800998ecf8427e"}).name
    'things'
    """

    name: str
    base_url: str
    md5: Mapping[str, str]


def find_or_fetch(
    remote: Remote, data_dir: str | Path | None, find: Callable[[Path], Path | None], *, layout: str
) -> Path:
    """Return what `find` makes of the first folder that holds the data set.

    The folders are `data_dir` and no other where it is given, else the environment variable
    `JAXFC_DATA`, else the cache, into which missing files are downloaded (see `fetch`).

    Args:
        remote: the files to download where they are not on disk.
        data_dir: a folder that must hold the files, or None.
        find: takes a folder and returns where in it the files are, or None if they are not there.
        layout: what `find` looks for, in words, for the message when `data_dir` does not hold it.

    Raises:
        FileNotFoundError: `data_dir` does not exist, or does not hold the files.
        NotADirectoryError: `data_dir` is a file.
        FormatError, OSError: as `fetch`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "thing.bin").touch()
    ...     remote = Remote("things", "https://example.org/things/", {"thing.bin": "d41d8cd98f00b204e9800998ecf8427e"})
    ...     find_or_fetch(remote, folder, lambda folder: folder / "thing.bin", layout="thing.bin").name
    'thing.bin'
    """
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"data_dir {str(data_dir)!r} is a file: give the folder that holds {layout}")
        if not folder.exists():
            raise FileNotFoundError(f"data_dir {str(data_dir)!r} does not exist: give the folder that holds {layout}")
        found = find(folder)
        if found is None:
            raise FileNotFoundError(f"{remote.name} is not in data_dir {str(data_dir)!r}: looked for {layout}")
        return found
    # The variable may serve several data sets, of which this one need not be on disk yet.
    found = find(Path(os.environ["JAXFC_DATA"]).expanduser()) if os.environ.get("JAXFC_DATA") else None
    if found is None:
        folder = fetch(remote)
        found = find(folder)
        if found is None:
            raise FileNotFoundError(f"{remote.name} was downloaded into {folder}, which does not hold {layout}")
    return found


def fetch(remote: Remote) -> Path:
    """Download the files that the cache lacks, or holds damaged, and return their folder.

    The cache is the folder in the environment variable `JAXFC_CACHE`, by default the user's cache
    folder. A file gets its final name only when it is complete and its checksum is right. Of several
    processes one downloads, and the others wait for it.

    Raises:
        FormatError: a downloaded file has another checksum than it should.
        OSError: a download failed.

    >>> import tempfile
    >>> from unittest import mock
    >>> with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, JAXFC_CACHE=cache):
    ...     Path(cache, "things").mkdir()
    ...     Path(cache, "things", "thing.bin").touch()  # what is in the cache is not downloaded again
    ...     remote = Remote("things", "https://example.org/things/", {"thing.bin": "d41d8cd98f00b204e9800998ecf8427e"})
    ...     fetch(remote).name
    'things'
    """
    import pooch

    cache = os.environ.get("JAXFC_CACHE")
    folder = (Path(cache).expanduser() if cache else Path(pooch.os_cache("jaxfc"))) / remote.name
    by_hand = (
        f"Or download {', '.join(remote.md5)} by hand from {remote.base_url} into a folder, and give that folder "
        "as data_dir (--data-dir on the command line) or in the environment variable JAXFC_DATA"
    )
    for file, md5 in remote.md5.items():
        url = remote.base_url + file
        if _is_whole(folder / file, md5):
            continue
        try:
            with _alone_in(folder):
                pooch.retrieve(url, f"md5:{md5}", fname=file, path=folder, progressbar=sys.stderr.isatty())
        except OSError as error:  # also what is raised for every failed request
            raise OSError(f"could not download {url} into {folder}: {_cause(error)}. Try again. {by_hand}") from error
        except ValueError as error:
            raise FormatError(
                f"{url} is not the file it should be, its MD5 checksum is not {md5}. Try again later. {by_hand}"
            ) from error
    return folder


def _is_whole(path: Path, md5: str) -> bool:
    import pooch

    return path.is_file() and pooch.file_hash(str(path), alg="md5") == md5


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait for other processes to have downloaded into a folder, and remove what killed ones left there."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for left in folder.glob("tmp????????"):  # pooch's, by the standard library's tempfile
            left.unlink()
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / ".lock").unlink()


def _cause(error: BaseException) -> str:
    """Return the innermost error's text; those around it only repeat the address and the retries."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error) or type(error).__name__
