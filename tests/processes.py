"""Processes of one's own, as tests start them: under a time limit, and ended by their own id."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def started(*argument_lists, cwd, env=None):
    """Start the interpreter with each list of arguments; at the end, whatever still runs is killed."""
    where = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **(env or {})}
    how = {"cwd": cwd, "env": where, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = []
    try:
        for arguments in argument_lists:
            children.append(subprocess.Popen([sys.executable, *map(str, arguments)], **how))
        yield children
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.communicate()


def ended(children, seconds):
    """Wait for processes; return the code, output and errors of each."""
    found = []
    for child in children:
        out, err = child.communicate(timeout=seconds)
        found.append((child.returncode, out, err))
    return found
