"""The processes that do the work, one for each peer."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[1]


class Failure(Exception):
    """A worker that came to an end; the message is the reason, for the table."""


class Worker:
    """A process of `peers/worker.py`; with a `root`, on the jaxfc in that folder."""

    def __init__(self, name: str, work: str, quick: bool, folder: Path, root: Path | None = None) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # -P: the current folder, where there may be another jaxfc, is not searched.
        command = [sys.executable, "-P", "-m", "peers.worker", name, work, "quick" if quick else "full", str(folder)]
        command += [] if root is None else [str(root)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, text=True, env=environment(root), **pipes)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()

    def ask(self, number: int, *, last: bool) -> dict[str, Any]:
        """Have it do the round of a number, and return what it measured; after the last, the accuracy reached too."""
        try:
            self.process.stdin.write(json.dumps({"round": number, "last": last}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; `answer` finds out why
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for its next answer.

        Raises:
            Failure: it reports an error, or has ended without a word.
        """
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or [""])[-1]
            raise Failure(f"ended with exit code {self.process.wait()}. {last}".strip())
        message = json.loads(line)
        if "error" in message:
            raise Failure(message["error"])
        return message


def environment(root: Path | None = None) -> dict[str, str]:
    """Environment of the workers: programs are compiled anew, and a GPU's memory is shared.

    The jaxfc they import is that in the folder `root`, by default this checkout's, installed or not.
    """
    paths = [str(root or SCRIPTS.parent), str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    fresh = {"JAX_ENABLE_COMPILATION_CACHE": "false", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ | fresh | {"PYTHONPATH": os.pathsep.join(paths)}
