"""Faults on demand: a process that stops, or a disk that is full, at any file operation of a command.

A scenario is a command on a folder: what it begins with, what goes on with it, and what it leaves. A trial strikes it
once, goes on, and says what was lost: None, or a text.
"""

import contextlib
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxfc import plots
from jaxfc.artifacts import checkpoint
from jaxfc.artifacts.ensemble import load_predictor
from jaxfc.cli import use
from jaxfc.errors import FormatError
from jaxfc.search import folder as searches
from jaxfc.search.config import SEARCH, SearchConfig
from jaxfc.training import prepare, runs
from jaxfc.training.config import TrainConfig

OPERATIONS = ("open", "write", "fsync", "chmod", "chown", "replace", "mkdir", "unlink")
FILLING = ("open", "write", "fsync", "replace", "mkdir")  # what a full disk refuses
WRITING = os.O_CREAT | os.O_WRONLY | os.O_RDWR

RUN = TrainConfig(hidden=(), update_rule="sgd", epochs=3, num_train=64)
LONGER = 4
SEARCHED = SearchConfig(
    train=TrainConfig(hidden=(), update_rule="sgd", epochs=2, num_train=64),
    spaces={"learning_rate": "loguniform:1e-3:1e-1"},
    trials=4,
    method="halving",
    eta=2,
    ensemble=2,
    then_train="--epochs 3",
)


class Stopped(BaseException):
    """The process has stopped: nothing that it still does reaches the disk."""


# ---------------------------------------------------------------------------------------------------
# Scenarios
# ---------------------------------------------------------------------------------------------------


class Scenario(NamedTuple):
    """A command on a folder.

    Args:
        prepare: lays out the folder before the command.
        act: the command.
        go_on: what a user does once it was stopped.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    go_on: Callable[[Path], None]


def _train(out: Path) -> None:
    runs.train(RUN, out / "run", progress=False)


def _go_on_training(out: Path) -> None:
    if (out / "run" / runs.CONFIG).exists():
        runs.train(TrainConfig.from_json(out / "run" / runs.CONFIG), out / "run", resume=True, progress=False)
    else:
        _train(out)


def _extend(out: Path) -> None:
    config = TrainConfig.from_json(out / "run" / runs.CONFIG)
    runs.train(config, out / "run", resume=True, extend=LONGER, progress=False)


def _go_on_extending(out: Path) -> None:
    _go_on_training(out)
    if TrainConfig.from_json(out / "run" / runs.CONFIG).epochs < LONGER:  # nothing was trained before it stopped
        _extend(out)


def _final(config: TrainConfig) -> TrainConfig:
    return replace(config, epochs=3, num_train=64)


def _search(out: Path) -> None:
    searches.search(SEARCHED, out / "search", _final, progress=False)


def _go_on_searching(out: Path) -> None:
    if (out / "search" / SEARCH).exists():
        config = SearchConfig.from_json(out / "search" / SEARCH)
        searches.search(config, out / "search", _final, resume=True, progress=False)
    else:
        _search(out)


def _with_a_run(out: Path) -> None:
    """A finished run whose files are its owner's alone, and whose model lies elsewhere."""
    _train(out)
    (out / "store").mkdir()
    for path in (out / "run").iterdir():
        path.chmod(0o600)
    (out / "run" / runs.MODEL).rename(out / "store" / "model")
    (out / "run" / runs.MODEL).symlink_to("../store/model")
    np.save(out / "rows.npy", np.zeros((3, 64), np.uint8))


def _predict(out: Path) -> None:
    use.predict(out / "run", out / "rows.npy")


def _go_on_predicting(out: Path) -> None:
    if not (out / "rows.predictions.csv").exists():
        _predict(out)
    else:
        use.predict(out / "run", out / "rows.npy", out / "again.csv")
        (out / "again.csv").unlink()


def _evaluate(out: Path) -> None:
    use.evaluate(out / "run")


SCENARIOS = {
    "run": Scenario(lambda out: None, _train, _go_on_training),
    "extension": Scenario(_with_a_run, _extend, _go_on_extending),
    "search": Scenario(lambda out: None, _search, _go_on_searching),
    "prediction": Scenario(_with_a_run, _predict, _go_on_predicting),
    "evaluation": Scenario(_with_a_run, _evaluate, _evaluate),
}


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Every epoch a program, and so a checkpoint, of its own; one picture in place of many; nothing printed."""
    at_once, png, picture = prepare.AT_ONCE, plots.png, plots.png(plots.new_figure(1, 1, size=(1, 1))[0])
    prepare.AT_ONCE, plots.png = 0, lambda figure: picture
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        prepare.AT_ONCE, plots.png = at_once, png


# ---------------------------------------------------------------------------------------------------
# Striking
# ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def watched(folder: Path, strike: Callable[[int, str, str], None]) -> Iterator[list[str]]:
    """Call `strike` with a number, `before`, `half` or `after`, and a name, around each operation below a folder.

    What it raises, the operation raises; raised before, it does not happen. Yields the list of these moments.
    """
    seen: list[str] = []
    real = {name: getattr(os, name) for name in OPERATIONS}
    root = os.path.realpath(folder)

    def below(target: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.path.abspath(target)
        return path.startswith(root)

    def moment(when: str, name: str) -> None:
        seen.append(f"{when} {name}")
        strike(len(seen) - 1, when, name)

    def patched(name: str) -> Callable:
        def operation(target: Any, *args: Any, **kwargs: Any) -> Any:
            reads = name == "open" and not (args[0] if args else kwargs["flags"]) & WRITING
            if reads or not below(target):
                return real[name](target, *args, **kwargs)
            moment("before", name)
            done = 0
            if name == "write":  # in two parts, so that it may stop in the middle
                half = len(args[0]) // 2
                done, args = real[name](target, args[0][:half]), (args[0][half:],)
                moment("half", name)
            result = real[name](target, *args, **kwargs)
            moment("after", name)
            return done + result if name == "write" else result

        return operation

    for name in OPERATIONS:
        setattr(os, name, patched(name))
    try:
        yield seen
    finally:
        for name in OPERATIONS:
            setattr(os, name, real[name])


def stopping(at: int) -> Callable[[int, str, str], None]:
    """A process that is gone from a moment on."""

    def strike(number: int, when: str, name: str) -> None:
        if number >= at:
            raise Stopped

    return strike


def dying(at: int) -> Callable[[int, str, str], None]:
    """A process that ends at a moment, as by SIGKILL; for a forked child."""

    def strike(number: int, when: str, name: str) -> None:
        if number == at:
            os._exit(9)

    return strike


def full(at: int) -> Callable[[int, str, str], None]:
    """A disk that is full from a moment on."""

    def strike(number: int, when: str, name: str) -> None:
        if number >= at and when != "after" and name in FILLING:
            raise OSError(errno.ENOSPC, "No space left on device")

    return strike


def moments(scenario: Scenario, folder: Path) -> list[str]:
    """The moments of a scenario that nothing strikes."""
    folder.mkdir()
    scenario.prepare(folder)
    with watched(folder, lambda *_: None) as seen:
        scenario.act(folder)
    return seen


# ---------------------------------------------------------------------------------------------------
# Trials
# ---------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, Any]:
    """What a folder holds: of each file its mode and its bytes; of one with tensors, whose order is free, these."""
    held: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            held[f"{path.relative_to(folder)} ->"] = os.readlink(path)
        if path.is_file():
            held[str(path.relative_to(folder))] = oct(path.stat().st_mode), _value(path)
    return held


def _value(path: Path) -> Any:
    kind = checkpoint.kind(path)
    if kind is None:
        return path.read_bytes()
    tensors, metadata = checkpoint.read(path, kind=kind)
    return {name: (tensor.dtype, tensor.shape, tensor.tobytes()) for name, tensor in tensors.items()}, metadata


def torn(folder: Path) -> list[str]:
    """The files that are neither an old one nor a new one, of those that have their names."""
    found = []
    for path in folder.rglob("[!.]*"):
        try:
            if path.suffix == ".safetensors":
                checkpoint.read(path, kind=checkpoint.kind(path) or "")
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                found.append(path.name)
        except ValueError:
            found.append(path.name)
    return found


def left_over(folder: Path) -> list[str]:
    """Temporary files and locks."""
    return sorted(path.name for path in folder.rglob(".*"))


def lost(scenario: Scenario, folder: Path, whole: dict[str, Any]) -> str | None:
    """Go on with what a strike has left, and say what was lost by it, compared with a command never struck."""
    broken = torn(folder)
    if broken:
        return f"torn: {', '.join(broken)}"
    try:
        scenario.go_on(folder)
    except Exception as error:
        return f"cannot be gone on with: {type(error).__name__}: {error}"
    if left_over(folder):
        return f"stay for good: {', '.join(left_over(folder))}"
    now = contents(folder)
    differing = sorted(name for name in now.keys() | whole.keys() if now.get(name) != whole.get(name))
    return f"differ: {', '.join(differing)}" if differing else None


def trial(
    scenario: Scenario, folder: Path, whole: dict[str, Any], strike: Callable[[int, str, str], None]
) -> str | None:
    """Strike a scenario once, in this process; what was lost, or None."""
    folder.mkdir()
    scenario.prepare(folder)
    try:
        with watched(folder, strike):
            scenario.act(folder)
    except Stopped:
        pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return f"a full disk was called {error}"
        if left_over(folder):
            return f"left by a full disk: {', '.join(left_over(folder))}"
    found = lost(scenario, folder, whole)
    shutil.rmtree(folder)
    return found


def flip(path: Path, read: Callable[[Path], Any], scratch: Path, place: int, bit: int) -> str | None:
    """Read a copy of a file in which one bit has changed; None if that is noticed."""
    changed = bytearray(path.read_bytes())
    changed[place] ^= 1 << bit
    scratch.write_bytes(changed)
    try:
        read(scratch)
    except FormatError:
        return None
    except BaseException as error:
        return f"{path.name}, byte {place}, bit {bit}: {type(error).__name__}"
    return f"{path.name}, byte {place}, bit {bit}: not noticed"


def reader(path: Path) -> Callable[[Path], Any]:
    """What reads a file of such a kind: a model or an ensemble, or a checkpoint."""
    kind = checkpoint.kind(path)
    return (
        load_predictor if kind in ("jaxfc model", "jaxfc ensemble") else lambda copy: checkpoint.read(copy, kind=kind)
    )
