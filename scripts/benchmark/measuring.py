"""Measuring: peers take turns at a work, round after round."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from peers import PEERS, assignment
from peers.work import WORKS, Data, Work, stand_in

from benchmark.terminal import progress
from benchmark.workers import Failure, Worker, environment

# Idle threads of OpenMP and OpenBLAS go on spinning for some milliseconds after the last of their work.
PAUSE = 0.3

Row = dict[str, Any]


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
