"""Files written whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: str | Path, contents: bytes | str) -> None:
    """Write a file under a temporary name in the same folder, then rename it into place.

    Whoever reads `path`, at any moment and after any crash, finds the old contents or the new ones.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; `path` is then untouched.
    """
    path = Path(path)
    contents = contents.encode() if isinstance(contents, str) else contents
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files for their owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
