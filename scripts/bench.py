"""Compare jaxfc with other libraries at the same training, in one run.

Works are trainings and searches (see `peers/work.py`), and for each a process per peer. The processes take turns, round
after round, so that whatever slows the machine down for a while slows all alike; a ratio is the median
over rounds of the ratio within a round. Between them the machine's own rate of float32 matrix products
is measured.

    python scripts/bench.py
    python scripts/bench.py --work b c --peers jaxfc torch --rounds 3
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

SCRIPTS = Path(__file__).resolve().parent
SEARCH_PATH = [str(SCRIPTS), str(SCRIPTS.parent)]  # this checkout's jaxfc, installed or not
sys.path[:0] = SEARCH_PATH

from peers import PEERS, assignment  # noqa: E402
from peers.work import WORKS, Data, Work, stand_in  # noqa: E402

ASSIGNMENT = "assignment"  # the face of `jaxfc.cs231n` beside plain NumPy
MARK = {"bench": "jaxfc"}  # what a file holds that may be overwritten
PACKAGES = ("jaxfc", "jax", "jaxlib", "numpy", "torch", "flax", "equinox", "optax", "scikit-learn")
# Idle threads of OpenMP and OpenBLAS go on spinning for some milliseconds after the last of their work.
PAUSE = 0.3

Row = dict[str, Any]


class Failure(Exception):
    """A worker that came to an end; the message is the reason, for the table."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a single line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main() -> None:
    args = parse_arguments()
    report: dict[str, Any] = MARK | {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "quick": args.quick,
        "rounds": args.rounds,
        "machine": machine(),
        "versions": versions(),
        "import": import_time(),
        "works": {},
    }
    print(header(report), flush=True)
    for name in args.work:
        if name == ASSIGNMENT:
            report["works"][name] = run_assignment(args)
            print("\n" + assignment_block(report["works"][name]), flush=True)
        else:
            report["works"][name] = run_work(name, args)
            print("\n" + block(name, report["works"][name]), flush=True)
        write(args.json, report)
    print("\n" + footer(report, args.json))


def parse_arguments() -> argparse.Namespace:
    parser = Parser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--work",
        nargs="+",
        choices=[*WORKS, ASSIGNMENT],
        default=list(WORKS),
        help="the works to do (default: a b c d e)",
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="the peers (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each peer's turn comes (default: 5)")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="file to write (default: bench.json)")
    parser.add_argument("--data-dir", type=Path, help="folder with CIFAR-10 (default: the variable JAXFC_DATA)")
    parser.add_argument("--quick", action="store_true", help="a single round of few steps, to see that it works")
    args = parser.parse_args()
    args.work, args.peers = (list(dict.fromkeys(names)) for names in (args.work, args.peers))
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: must be at least 1")
    if args.quick:
        args.rounds = 1
    if args.data_dir is not None and not args.data_dir.is_dir():
        parser.error(f"--data-dir {args.data_dir}: there is no such folder")
    if not args.json.parent.is_dir():
        parser.error(f"--json {args.json}: there is no folder {args.json.parent}")
    if args.json.exists() and not is_own(args.json):
        parser.error(f"--json {args.json}: exists and was not written by this benchmark; name another file")
    return args


def is_own(path: Path) -> bool:
    """Whether a file was written by an earlier run."""
    try:
        contents = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(contents, dict) and contents.items() >= MARK.items()


def write(path: Path, report: dict[str, Any]) -> None:
    """Write the report under a name of its own first, so that the file is never half written."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(report, indent=1) + "\n")
    unfinished.replace(path)


# ---------------------------------------------------------------------------------------------------
# Workers
# ---------------------------------------------------------------------------------------------------


class Worker:
    """A process of `peers/worker.py`."""

    def __init__(self, name: str, work: str, quick: bool, folder: Path) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, "-m", "peers.worker", name, work, "quick" if quick else "full", str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, text=True, env=environment(), **pipes)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()

    def ask(self, number: int) -> dict[str, Any]:
        """Have it do the round of a number, and return what it measured."""
        try:
            self.process.stdin.write(json.dumps({"round": number}) + "\n")
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


def environment() -> dict[str, str]:
    """Environment of the workers: programs are compiled anew, and a GPU's memory is shared."""
    paths = [*SEARCH_PATH, *filter(None, [os.environ.get("PYTHONPATH")])]
    fresh = {"JAX_ENABLE_COMPILATION_CACHE": "false", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ | fresh | {"PYTHONPATH": os.pathsep.join(paths)}


# ---------------------------------------------------------------------------------------------------
# Measuring
# ---------------------------------------------------------------------------------------------------


def run_work(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Let the peers take turns at a work."""
    work = WORKS[name]
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        described = prepare(work, args, Path(folder))
        workers: dict[str, Worker] = {}
        wanted = [peer for peer in args.peers if name in PEERS[peer].works or PEERS[peer].unable]
        if not work.whole_run:
            wanted.append("product")
        for peer in wanted:
            rows[peer] = {"peer": peer, "status": "ok", "rounds": []}
            if reason := unable(peer, name):
                rows[peer] |= reason
                continue
            with reported(rows[peer]):
                workers[peer] = stack.enter_context(Worker(peer, name, args.quick, Path(folder)))
                workers[peer].answer()
                rows[peer]["first"] = workers[peer].ask(0)
            time.sleep(PAUSE)
        for number in range(1, args.rounds + 1):
            for peer in wanted:
                progress(f"work ({name}), round {number} of {args.rounds}: {peer}")
                if peer in workers and rows[peer]["status"] == "ok":
                    with reported(rows[peer]):
                        rows[peer]["rounds"].append(workers[peer].ask(number))
                    time.sleep(PAUSE)
        progress("")
    product = rows.pop("product", None)
    result = {"title": work.title, "data": described, "per_step": not work.whole_run, "product": product}
    reference = rows.get("jaxfc-search" if work.candidates > 1 else "jaxfc")
    return result | {"rows": [summary(row, reference, product, work) for row in rows.values()]}


def run_assignment(args: argparse.Namespace) -> dict[str, Any]:
    """Time the assignment's trainings on the face and on NumPy, in turn, each in a process of its own."""
    times: dict[str, dict[str, list[list[float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        described = prepare(WORKS["a"], args, Path(folder))
        size = "quick" if args.quick else "full"
        for task in assignment.TASKS:
            times[task] = {name: [] for name in assignment.IMPLEMENTATIONS}
            for number in range(1 if task in assignment.ONCE else args.rounds):
                for name in assignment.IMPLEMENTATIONS:
                    progress(f"{task}, round {number + 1}: {name}")
                    command = [sys.executable, "-m", "peers.assignment", name, task, size, folder]
                    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
                    if done.returncode:
                        sys.exit(f"bench.py: {task} on {name} failed: {done.stderr.strip().splitlines()[-1]}")
                    times[task][name].append(json.loads(done.stdout.splitlines()[-1])["seconds"])
        progress("")
    return {"title": "the CS231n assignment on jaxfc.cs231n", "data": described, "times": times}


def assignment_block(result: dict[str, Any]) -> str:
    """The table of the assignment's trainings: seconds, and NumPy's over jaxfc's."""
    lines = [
        f"{result['title']}: {result['data']}; seconds, NumPy's time over jaxfc's in the same round, medians",
        f"{'':46}{'NumPy':>8}{'jaxfc, first':>20}{'compiled before':>20}",
    ]
    for task, times in result["times"].items():
        cells = [f"{assignment.TASKS[task]:46}{median(t[-1] for t in times['numpy']):8.2f}"]
        for which in range(len(times["jaxfc"][0])):
            ratio = median(n[-1] / j[which] for n, j in zip(times["numpy"], times["jaxfc"], strict=True))
            cells.append(f"{median(t[which] for t in times['jaxfc']):11.2f} ({ratio:5.2f}x)")
        lines.append("".join(cells))
    return "\n".join(lines)


@contextmanager
def reported(row: Row) -> Iterator[None]:
    """Turn a worker's failure into the row's status."""
    try:
        yield
    except Failure as failure:
        row |= {"status": "failed", "reason": str(failure)}


def unable(peer: str, work: str) -> dict[str, str] | None:
    """Say why a peer cannot do a work, if so."""
    if peer == "product":
        return None
    entry = PEERS[peer]
    if work not in entry.works:
        return {"status": "left out", "reason": entry.unable}
    if find_spec(entry.package) is None:
        return {"status": "not installed", "reason": entry.package}
    return None


def prepare(work: Work, args: argparse.Namespace, folder: Path) -> str:
    """Put a work's arrays into a folder, and return a description of them."""
    import jaxfc

    where = args.data_dir or os.environ.get("JAXFC_DATA")
    if work.dataset == "cifar10" and where is None:
        rows = work.rows or (2000 if args.quick else 49_000)
        stand_in(rows).save(folder)
        return (
            f"random images in place of CIFAR-10, which --data-dir or JAXFC_DATA would say where to find; {rows} rows"
        )
    progress(f"loading {work.dataset}")
    try:
        data = jaxfc.load(work.dataset, data_dir=where)
    except (OSError, ValueError) as error:
        print(f"bench.py: {error}", file=sys.stderr)
        sys.exit(2)
    rows = work.rows or len(data.x_train)
    arrays = (data.x_train[:rows], data.y_train[:rows], data.x_val, data.y_val, data.normalizer.mean)
    Data(*arrays, data.normalizer.scale).save(folder)
    return f"{work.dataset}, {rows} rows"


def summary(row: Row, reference: Row | None, product: Row | None, work: Work) -> Row:
    """Reduce a peer's rounds to the table's figures; times in seconds, of a step or of a whole run."""
    if row["status"] != "ok":
        return row
    unit = "seconds" if work.whole_run else "per_step"
    times = [done[unit] for done in row["rounds"]]
    last = row["rounds"][-1]
    ratio = ratio_first = None
    if reference is not None and reference["status"] == "ok":
        ratio = median(time / done[unit] for time, done in zip(times, reference["rounds"], strict=True))
        ratio_first = median(times) / reference["first"]["seconds"]
    fractions = None
    if product is not None and product["status"] == "ok":
        fractions = {
            kind: median(done["step_flops"] / t / done[kind] for t, done in zip(times, product["rounds"], strict=True))
            for kind in ("square", "step")
        }
    steady = median(done["seconds"] for done in row["rounds"])
    return row | {
        "first_seconds": row["first"]["seconds"],
        "compile_seconds": max(0.0, row["first"]["seconds"] - steady),
        "times": times,
        "median": median(times),
        "min": min(times),
        "max": max(times),
        "ratio": ratio,
        "ratio_first": ratio_first if work.candidates > 1 else None,
        "peak_memory": last["peak_memory"],
        "product_fraction": fractions,
        "first_loss": row["first"]["first_loss"],
        "final_loss": last["final_loss"],
        "val_acc": last["val_acc"],
        "note": last["note"],
    }


PROBE = """
import json, time
start = time.perf_counter()
import jax
middle = time.perf_counter()
import jaxfc
end = time.perf_counter()
print(json.dumps({"jax": middle - start, "jaxfc": end - middle}))
"""


def import_time() -> dict[str, float]:
    """Seconds that `import jax` takes, and that `import jaxfc` takes on top of it."""
    command = [sys.executable, "-c", PROBE]
    outputs = [subprocess.run(command, env=environment(), capture_output=True, text=True, check=True) for _ in range(3)]
    times = [json.loads(output.stdout.splitlines()[-1]) for output in outputs]
    return {name: median(t[name] for t in times) for name in ("jax", "jaxfc")}


def machine() -> dict[str, Any]:
    """Describe processor, cores, and the device that JAX computes on."""
    command = [sys.executable, "-c", "import jax; print(jax.default_backend(), jax.devices()[0].device_kind, sep='|')"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench.py: JAX does not start: {done.stderr.strip().splitlines()[-1]}")
    backend, kind = done.stdout.splitlines()[-1].split("|")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu_name(), "cores": cores, "backend": backend, "device": kind, "python": platform.python_version()}


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of the packages compared, as far as they are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# ---------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------


def progress(text: str) -> None:
    """Keep a line on a terminal that says what is going on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def header(report: dict[str, Any]) -> str:
    """Say where, when and with what."""
    machine = report["machine"]
    device = machine["cpu"] if machine["backend"] == "cpu" else f"{machine['device']}; {machine['cpu']}"
    packages = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    rounds = f"{report['rounds']} rounds" + (" (quick: figures mean nothing)" if report["quick"] else "")
    return f"{report['date']}   {device}, {machine['cores']} cores   {rounds}\nPython {machine['python']}, {packages}"


COLUMNS = ("peer", "first round", "compile", "median", "min .. max", "x jaxfc", "peak memory", "of product", "loss")


def block(name: str, result: dict[str, Any]) -> str:
    """One work's table."""
    unit = "ms per step" if result["per_step"] else "ms per run"
    unit = "ms per candidate" if WORKS[name].candidates > 1 else unit
    lines = [f"({name}) {result['title']}: {result['data']}; {unit}"]
    table = [COLUMNS, *(cells(row) for row in result["rows"])]
    if result["product"] is None:
        table = [(*line[:7], *line[8:]) for line in table]
    widths = [max(len(line[i]) for line in table if len(line) > 2) for i in range(len(table[0]))]
    widths[0] = max(len(line[0]) for line in table)
    for line in table:
        padded = [line[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join(padded).rstrip())
    lines += [f"  {text}" for row in result["rows"] if (text := remark(row))]
    if result["product"] is not None:
        lines.append(product_line(result["product"]))
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """A row's cells, in the order of `COLUMNS`."""
    title = PEERS[row["peer"]].title
    if row["status"] != "ok":
        return (title, *["-"] * 2, row["status"], *["-"] * 5)
    fraction = row["product_fraction"]
    accuracy = "" if row["val_acc"] is None else f", val {row['val_acc']:.3f}"
    return (
        title,
        f"{row['first_seconds']:.2f} s",
        f"{row['compile_seconds']:.2f} s",
        milliseconds(row["median"]),
        f"{milliseconds(row['min'])} .. {milliseconds(row['max'])}",
        "-" if row["ratio"] is None else f"{row['ratio']:.2f}",
        f"{row['peak_memory'] / 2**20:.0f} MiB",
        "-" if fraction is None else f"{fraction['step']:.0%} ({fraction['square']:.0%})",
        f"{row['first_loss']:.3f} → {row['final_loss']:.3f}{accuracy}",
    )


def milliseconds(seconds: float) -> str:
    """Three significant digits or more."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def remark(row: Row) -> str:
    """A line under the table about a row, or nothing."""
    title = PEERS[row["peer"]].title
    if row["status"] != "ok":
        return f"{title}: {row['status']} ({row['reason']})"
    remarks = [row["note"]] if row["note"] else []
    if row["ratio_first"] is not None:
        remarks.append(f"{row['ratio_first']:.2f} x the search's first round, which includes its compilation")
    return f"{title}: {'; '.join(remarks)}" if remarks else ""


def product_line(product: Row) -> str:
    """Say what rates the fractions are of."""
    if product["status"] != "ok":
        return f"  rate of matrix products: {product['status']} ({product['reason']})"
    square, step = (median(done[kind] for done in product["rounds"]) / 1e9 for kind in ("square", "step"))
    flops = product["first"]["step_flops"] / 1e9
    return (
        f"  matrix products alone, float32: a step's own {step:.1f} GFLOP/s ({flops:.2f} GFLOP per step), "
        f"a square one of 2048 {square:.1f} GFLOP/s; 'of product' is the step's part of the former (latter)"
    )


def footer(report: dict[str, Any], path: Path) -> str:
    """Explain the columns, and give the time of an import."""
    seconds = report["import"]
    return (
        "first round: from new parameters on, with compilation; compile: what it takes beyond a later round.\n"
        "x jaxfc: the peer's time over jaxfc's (in a search: over the search's) in the same round, median.\n"
        "Losses: the first step's, and the mean of the last round's last tenth; with the L2 term in jaxfc and NumPy,\n"
        "without in the others. Memory: the host's.\n"
        f"import jaxfc: {seconds['jaxfc']:.2f} s more than import jax ({seconds['jax']:.2f} s).   Written: {path}"
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
