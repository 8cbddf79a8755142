"""Other revisions of jaxfc, from this repository's history, to measure this checkout against."""

import io
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmark.workers import SCRIPTS

OWN_PEERS = ("jaxfc", "jaxfc-search")  # which every revision has; `peers/revision.py` runs its own
NEEDED = ("scripts/peers/jaxfc_peer.py", "scripts/peers/jaxfc_search_peer.py")


class Revision(NamedTuple):
    """A revision as it was asked for, and its commit."""

    name: str
    commit: str


def resolved(name: str) -> Revision:
    """Look up a revision.

    Raises:
        ValueError: git knows none of that name, or its jaxfc has no peer that could be run.
    """
    commit = git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    if not commit:
        raise ValueError("no such revision in this repository; if it is elsewhere, git fetch it first")
    for path in NEEDED:
        if not git("ls-tree", "--name-only", commit, path):
            raise ValueError(f"that revision has no {path}, by which it would be run; name a later one")
    return Revision(name, commit)


@contextmanager
def extracted(revisions: Iterable[Revision]) -> Iterator[dict[str, Path]]:
    """Put the jaxfc and the peers of revisions into folders, by name, for as long as the context lasts."""
    with TemporaryDirectory() as folder:
        roots = {}
        for revision in revisions:
            roots[revision.name] = root = Path(folder) / str(len(roots))
            with tarfile.open(fileobj=io.BytesIO(git("archive", revision.commit, "jaxfc", "scripts/peers"))) as files:
                files.extractall(root, filter="data")
        yield roots


def git(*arguments: str) -> bytes:
    """What a git command prints; nothing where it fails, or there is no git."""
    try:
        return subprocess.run(["git", *arguments], cwd=SCRIPTS.parent, capture_output=True).stdout
    except FileNotFoundError:
        return b""
