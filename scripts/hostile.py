"""Try hostile and odd input, each within 10 s (of a processor) and 2 GB, and count what ends in a traceback or hangs.

    python scripts/hostile.py               # all of it: some minutes on one core
    python scripts/hostile.py --only npz    # the cases in whose names this occurs

Prints a table; the exit code is 1 if anything did not end as it must. The cases are those of `tests/hostile/`. Linux
only: processes are forked from one that has imported JAX and not yet started it, and the kernel is asked for the most
memory that each case took.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

# What one process has compiled, the others read.
compiled = tempfile.mkdtemp(prefix="jaxfc-hostile-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", compiled)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from hostile import Case, collected, problem  # noqa: E402
from hostile.models import trained  # noqa: E402

SECONDS, BYTES = 10, 2 * 10**9  # of a processor, and of memory
PATIENCE = 90  # seconds, on a machine that may have more to do
FORK = multiprocessing.get_context("fork")


class Outcome(NamedTuple):
    """How a case ended: what is wrong with that, how long a processor worked on it, and the most memory meanwhile."""

    problem: str | None
    seconds: float
    peak: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="what occurs in the names of the cases to try")
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    asked = parser.parse_args()
    cases = [case for case in collected() if asked.only in case.name]
    folder = Path(tempfile.mkdtemp(prefix="jaxfc-hostile-"))
    try:
        ends = try_all(cases, folder, verbose=asked.verbose)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(compiled, ignore_errors=True)
    print(table(cases, ends))
    wrong = [f"{case.name[:70]}: {end.problem}" for case, end in zip(cases, ends, strict=True) if end.problem]
    for each in wrong:
        print(f"wrong: {each}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def table(cases: list[Case], ends: list[Outcome]) -> str:
    """A row for each kind of input: how many, how many of them ended wrongly, the longest and the largest."""
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for case, end in zip(cases, ends, strict=True):
        kinds[case.kind].append(end)
        kinds["all"].append(end)
    kinds["all"] = kinds.pop("all")
    lines = [f"{'input':<28}{'cases':>8}{'wrong':>8}{'seconds, most':>16}{'MB, most':>12}"]
    for kind, mine in kinds.items():
        wrong, longest = sum(end.problem is not None for end in mine), max(end.seconds for end in mine)
        lines.append(f"{kind:<28}{len(mine):>8}{wrong:>8}{longest:>16.1f}{max(end.peak for end in mine) / 1e6:>12.0f}")
    return "\n".join(lines)


def try_all(cases: list[Case], folder: Path, *, verbose: bool) -> list[Outcome]:
    """Try cases one after another in a process; in a new one where one did not come back."""
    ends: list[Outcome] = []
    while len(ends) < len(cases):
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=_try_each, args=(theirs, cases[len(ends) :], folder / str(len(ends))))
        process.start()
        theirs.close()
        lived = ours.recv() if ours.poll(120) else False
        while lived and len(ends) < len(cases):
            end = _awaited(ours)
            lived = end.peak > 0
            ends.append(end)
            if verbose:
                name, ended = cases[len(ends) - 1].name[:70], end.problem or "ok"
                print(f"{end.seconds:6.2f} s {end.peak / 1e6:6.0f} MB  {name}: {ended}", flush=True)
        process.kill()
        process.join()
        if lived is False and not ends:
            raise RuntimeError("the process that tries cases does not start")
    return ends


def _awaited(ours: Connection) -> Outcome:
    start = time.monotonic()
    try:
        if ours.poll(PATIENCE):
            return ours.recv()
    except EOFError:
        return Outcome("the process died", time.monotonic() - start, 0)
    return Outcome("does not end", time.monotonic() - start, 0)


def _try_each(theirs: Connection, cases: list[Case], folder: Path) -> None:
    os.close(1)
    os.open(os.devnull, os.O_WRONLY)
    trained()  # starts JAX, too
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    theirs.send(True)
    folder.mkdir()
    for number, case in enumerate(cases):
        theirs.send(tried(case, folder / str(number)))


def tried(case: Case, folder: Path) -> Outcome:
    """Try a case, and measure it."""
    folder.mkdir()
    Path("/proc/self/clear_refs").write_text("5")  # forget the most memory so far
    start = time.process_time()
    wrong = problem(case, folder)
    seconds = time.process_time() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    shutil.rmtree(folder, ignore_errors=True)
    if wrong is None and seconds > SECONDS:
        wrong = f"took {seconds:.1f} s"
    if wrong is None and peak > BYTES:
        wrong = f"took {peak / 1e9:.2f} GB"
    return Outcome(wrong, seconds, peak)


if __name__ == "__main__":
    main()
