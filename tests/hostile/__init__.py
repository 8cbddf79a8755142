"""Hostile and odd input: files, flags and arguments that nobody should have made, and how each must end.

A case is tried in a folder of its own. It ends well if it is refused by one line that says what is wrong, with
nothing written, or if it is accepted; whichever the case says. A traceback never is a good end, nor is a line that
nobody could read. `scripts/hostile.py` tries all cases within bounds of time and memory; the tests, a slice.
"""

import contextlib
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxfc import cli
from jaxfc.errors import DivergenceError

LONGEST = 2000  # characters of a line that still can be read


class Case(NamedTuple):
    """Something to try.

    Args:
        name: what it is.
        act: tries it in a folder; returns an exit code and the lines on stderr.
        says: a pattern that one line must match; None for what is accepted.
        code: the exit code.
        slow: trains, makes a large file first, or is too much for checked annotations: not for the tests.
        kind: what it is a case of.
    """

    name: str
    act: Callable[[Path], tuple[int, list[str]]]
    says: str | None
    code: int = 2
    slow: bool = False
    kind: str = ""


def command(
    name: str,
    *args: object,
    says: str | None,
    make: Callable[[Path], object] | None = None,
    code: int = 2,
    slow: bool = False,
) -> Case:
    """A case of the command line. In its arguments `{}` stands for the folder; `make` puts files there first."""

    def act(folder: Path) -> tuple[int, list[str]]:
        if make is not None:
            make(folder)
        return run([str(arg).replace("{}", str(folder)) for arg in args])

    return Case(name, act, says, code, slow or says is None or code != 2)


def call(name: str, function: Callable[[], object], *, says: str | None, slow: bool = False) -> Case:
    """A case of the library: a function that must raise what says the value and the remedy, or must not raise."""

    def act(folder: Path) -> tuple[int, list[str]]:
        try:
            function()
        except DivergenceError as error:
            return 1, [f"jaxfc: {error}"]
        except (ValueError, TypeError, OSError) as error:
            return 2, [f"jaxfc: {error}"]
        return 0, []

    return Case(name, act, says, slow=slow or says is None)


def run(args: list[str]) -> tuple[int, list[str]]:
    """Run a command in this process; its exit code, and the lines it wrote to stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("always")
        code: Any = 0
        try:
            cli.main(args)
        except SystemExit as stop:
            code = stop.code or 0
    return code, err.getvalue().splitlines()


def problem(case: Case, folder: Path) -> str | None:
    """Try a case in an empty folder, and say what is wrong with its end; None if nothing is."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        code, lines = case.act(folder)
    except Exception:
        kind, error, where = sys.exc_info()
        last = traceback.extract_tb(where)[-1]
        return f"traceback: {kind.__name__}: {str(error)[:200]} ({Path(last.filename).name}, line {last.lineno})"
    finally:
        os.chdir(before)
    return _wrong_end(case, code, lines) or _written(case, code, folder)


def _wrong_end(case: Case, code: int, lines: list[str]) -> str | None:
    expected = 0 if case.says is None else case.code
    shown = " | ".join(line[:200] for line in lines[:3])
    if code != expected:
        return f"code {code} instead of {expected}: {shown}"
    if case.says is None:
        return None
    if code and len(lines) != 1:
        return f"{len(lines)} lines: {shown}"
    if any(not line.startswith("jaxfc: ") or len(line) > LONGEST for line in lines):
        return f"no line to read ({max(map(len, lines))} characters): {shown}"
    if not any(re.search(case.says, line) for line in lines):
        return f"does not say {case.says!r}: {shown}"
    return None


def _written(case: Case, code: int, folder: Path) -> str | None:
    left = [path.name for path in folder.iterdir() if path.name in ("out", "runs")]
    return f"left behind: {', '.join(left)}" if code == 2 and left else None


def collected() -> list[Case]:
    """All cases, each under a name of its own."""
    from hostile import archives, arrays, calls, columns, flags, models, odd, tables

    modules = (archives, arrays, tables, columns, models, odd, flags, calls)
    cases = [case._replace(kind=module.__name__.rpartition(".")[2]) for module in modules for case in module.CASES]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return cases
