"""The command line as tests call it."""

import contextlib
import io
import re
import threading

import numpy as np

from jaxfc import cli

FAST = ["--hidden", "16", "--epochs", "2", "--patience", "9", "--no-progress"]


def jaxfc(capfd, *args):
    """Run a command; return its exit code, and the lines it wrote to stdout and stderr."""
    code = _code(args)
    out, err = capfd.readouterr()
    return code, out.splitlines(), err.splitlines()


def done(*args):
    """Run a command that must succeed, for a fixture; return the lines it wrote to stdout."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = _code(args)
    assert (code, err.getvalue()) == (0, "")
    return out.getvalue().splitlines()


def _code(args):
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as stop:
        return stop.code or 0
    return 0


def fails(capfd, *args, code=2):
    """Run a command that must fail with one line on stderr, and return that line."""
    got, _, err = jaxfc(capfd, *args)
    assert got == code, err
    assert len(err) == 1, err
    assert err[0].startswith("jaxfc: ")
    return err[0]


def value(lines, name):
    """The number of the one line `name: number`."""
    (found,) = [line for line in lines if re.fullmatch(rf"{name}: -?\d+\.\d{{4}}", line)]
    return float(found.split()[1])


def write_table(path, rows=60, seed=0):
    """A table: a class as text, two labels and a number that follow from its features, and a weight for each row."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    sides = np.array(["left", "right"])[(x[:, 0] > 0).astype(int)]
    lines = ["height,width,side,depth,tall,wide,mass,weight"]
    for (a, b, c), side in zip(x, sides, strict=True):
        lines.append(f"{a:.4f},{b:.4f},{side},{c:.4f},{a > 0:d},{b > 0:d},{2 * a - b + 3:.4f},{1 + (c > 0):d}")
    path.write_text("\n".join(lines) + "\n")
    return sides


def numbers_alone(path):
    """Number the classes of such a table, so that its other columns can be targets."""
    path.write_text(path.read_text().replace("left", "0").replace("right", "1"))


@contextlib.contextmanager
def interrupted_at_once(*_):
    """In place of `jaxfc.console.interrupts`: Ctrl-C was pressed before the loop began."""
    event = threading.Event()
    event.set()
    yield event
