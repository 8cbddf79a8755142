"""Stop, starve and kill trainings, searches and predictions, flip bits of their files, and count what is lost.

    python scripts/faults.py                # all of it: some minutes on one core
    python scripts/faults.py --only run search --every 20 --deaths 5 --kills 5 --flips 100

Prints a table; the exit code is 1 if anything was lost. The scenarios and what counts as a loss are those of
`tests/faults.py`. POSIX only: processes are forked from one that has imported JAX and not yet started it.
"""

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What one process has compiled, the others read.
compiled = tempfile.mkdtemp(prefix="jaxfc-faults-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np  # noqa: E402
from faults import (  # noqa: E402
    SCENARIOS,
    contents,
    dying,
    flip,
    full,
    lost,
    moments,
    quick,
    reader,
    stopping,
    trial,
    watched,
)  # fmt: skip

REPEATS = 4  # of a scenario in one process, of which one is killed
FORK = multiprocessing.get_context("fork")
FLIPPED = ("search/model.safetensors", "search/ensemble.safetensors", "search/checkpoint.safetensors",
           "search/final/model.safetensors", "search/final/checkpoint.safetensors")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="scenarios")
    parser.add_argument("--every", type=int, default=1, help="stop and starve at every so-manieth moment; 0 for none")
    parser.add_argument("--deaths", type=int, default=50, help="processes that die at a file operation")
    parser.add_argument("--kills", type=int, default=200, help="processes killed at random")
    parser.add_argument("--flips", type=int, default=1000, help="bits flipped")
    parser.add_argument("--seed", type=int, default=0, help="of what is random")
    asked = parser.parse_args()
    folder, rng = Path(tempfile.mkdtemp(prefix="jaxfc-faults-")), np.random.default_rng(asked.seed)
    try:
        losses = run(asked, folder, rng)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(compiled, ignore_errors=True)
    for loss in losses:
        print(f"lost: {loss}", file=sys.stderr)
    sys.exit(1 if losses else 0)


def run(asked: argparse.Namespace, folder: Path, rng: np.random.Generator) -> list[str]:
    """Do what was asked for, print a row for each kind of fault, and return what was lost."""
    whole = {name: in_child(measure, name, folder / f"{name}-whole") for name in asked.only}
    losses = []
    print(f"{'fault':<32}{'trials':>8}{'lost':>8}{'seconds':>10}")

    def row(name: str, work: Callable, *args: Any) -> None:
        start = time.monotonic()
        count, found = work(*args)
        print(f"{name:<32}{count:>8}{len(found):>8}{time.monotonic() - start:>10.0f}", flush=True)
        losses.extend(f"{name}, {each}" for each in found)

    for name in asked.only if asked.every else ():
        places, _, result = whole[name]
        row(f"stopped, {name}", in_child, strike_all, name, folder, result, places, asked.every, "stopping")
        row(f"disk full, {name}", in_child, strike_all, name, folder, result, places, asked.every, "full")
    if asked.deaths:
        row("died at an operation", die, folder, whole, asked.deaths, rng)
    if asked.kills:
        row("killed at random", kill, folder, whole, asked.kills, rng)
    if asked.flips and "search" in asked.only:
        row("bits flipped in its files", in_child, flip_all, folder / "search-whole", asked.flips, rng)
    return losses


def in_child(work: Callable, *args: Any) -> Any:
    """What a function returns, called in a process of its own."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_answer, args=(theirs, work, args))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed") from None
    finally:
        process.join()


def _answer(theirs: Connection, work: Callable, args: tuple) -> None:
    with quick():
        theirs.send(work(*args))


def measure(name: str, folder: Path) -> tuple[list[str], float, dict[str, Any]]:
    """The moments of a scenario, how long it takes once it is compiled, and what it leaves."""
    seen = moments(SCENARIOS[name], folder)
    again = folder.with_name("again")
    again.mkdir()
    SCENARIOS[name].prepare(again)
    start = time.monotonic()
    SCENARIOS[name].act(again)
    duration = time.monotonic() - start
    shutil.rmtree(again)
    return seen, duration, contents(folder)


def strike_all(
    name: str, folder: Path, whole: dict[str, Any], places: list[str], every: int, how: str
) -> tuple[int, list[str]]:
    """Strike a scenario at its moments, in one process that lives on."""
    strike = {"stopping": stopping, "full": full}[how]
    chosen = [at for at, place in enumerate(places) if how == "stopping" or place.startswith("before")][::every]
    found = []
    for at in chosen:
        loss = trial(SCENARIOS[name], folder / "struck", whole, strike(at))
        shutil.rmtree(folder / "struck", ignore_errors=True)
        if loss:
            found.append(f"{at} ({places[at]}): {loss}")
    return len(chosen), found


def die(folder: Path, whole: dict, count: int, rng: np.random.Generator) -> tuple[int, list[str]]:
    """Let processes die at an operation."""
    struck = []
    for number in range(count):
        name = list(whole)[number % len(whole)]
        at = int(rng.integers(len(whole[name][0])))
        process = FORK.Process(target=_die, args=(name, folder / f"died-{number}", at))
        process.start()
        process.join()
        struck.append((name, folder / f"died-{number}", f"{at} ({whole[name][0][at]})"))
        if process.exitcode != 9:
            raise RuntimeError(f"a process that was to die ended with code {process.exitcode}")
    return count, in_child(go_on_with_all, struck, {name: each[2] for name, each in whole.items()})


def _die(name: str, folder: Path, at: int) -> None:
    scenario = SCENARIOS[name]
    folder.mkdir()
    with quick():
        scenario.prepare(folder)
        with watched(folder, dying(at)):
            scenario.act(folder)


def kill(folder: Path, whole: dict, count: int, rng: np.random.Generator) -> tuple[int, list[str]]:
    """Kill processes that do a scenario over and over, at a random moment."""
    struck = []
    for number in range(count):
        name = list(whole)[number % len(whole)]
        work = folder / f"killed-{number}"
        work.mkdir()
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=_repeat, args=(name, work, theirs))
        process.start()
        ours.recv()
        delay = rng.uniform(0, REPEATS * whole[name][1])
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        begun = len(list(work.glob("*.begun")))
        struck.append((name, work / str(max(begun, 1)), f"repeat {begun}, after {delay:.3f} s"))
    return count, in_child(go_on_with_all, struck, {name: each[2] for name, each in whole.items()})


def _repeat(name: str, work: Path, ready: Connection) -> None:
    scenario = SCENARIOS[name]
    with quick():
        moments(scenario, work / "0")  # compiles all programs
        for number in range(1, REPEATS + 1):
            (work / str(number)).mkdir()
            scenario.prepare(work / str(number))
        ready.send(None)
        for number in range(1, REPEATS + 1):
            (work / f"{number}.begun").touch()
            scenario.act(work / str(number))


def go_on_with_all(struck: list[tuple[str, Path, str]], whole: dict[str, Any]) -> list[str]:
    found = []
    for name, folder, where in struck:
        loss = lost(SCENARIOS[name], folder, whole[name])
        if loss:
            found.append(f"{name}, {where}: {loss}")
    return found


def flip_all(folder: Path, count: int, rng: np.random.Generator) -> tuple[int, list[str]]:
    """Flip a random bit of a random file, again and again."""
    paths = [folder / name for name in FLIPPED]
    readers = [reader(path) for path in paths]
    found = []
    for number in range(count):
        which = number % len(paths)
        place, bit = int(rng.integers(paths[which].stat().st_size)), int(rng.integers(8))
        loss = flip(paths[which], readers[which], folder / "flipped.safetensors", place, bit)
        if loss:
            found.append(loss)
    return count, found


if __name__ == "__main__":
    main()
