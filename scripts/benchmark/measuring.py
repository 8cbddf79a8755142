"""Measuring: peers take turns at a work, round after round."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from peers import PEERS, assignment
from peers.work import WORKS, Data, Work, stand_in
from peers.worker import METER

from benchmark.figures import Row, summary
from benchmark.revisions import OWN_PEERS
from benchmark.terminal import progress
from benchmark.workers import Failure, Worker, environment

# Idle threads of OpenMP and OpenBLAS go on spinning for some milliseconds after the last of their work.
PAUSE = 0.3


def run_work(name: str, args: argparse.Namespace, revisions: dict[str, Path]) -> dict[str, Any]:
    """Let the peers take turns at a work, and with them jaxfc at other revisions, each in its folder."""
    work = WORKS[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        described = prepare(work, args, Path(folder))
        rows = peer_rows(name, args.peers, revisions)
        products = {} if work.whole_run else product_rows(rows)
        workers: dict[int, Worker] = {}
        turns = [*rows, *products.values()]
        for number in range(args.rounds + 1):
            for place, row in enumerate(turns):
                if row["status"] != "ok":
                    continue
                progress(f"work ({name}), round {number} of {args.rounds}: {row['title']}")
                with reported(row):
                    if number == 0:
                        root = revisions.get(row.get("revision"))
                        worker = stack.enter_context(Worker(row["peer"], name, args.quick, Path(folder), root))
                        workers[place] = worker
                        worker.answer()
                        row["first"] = worker.ask(0, last=False)
                    else:
                        row["rounds"].append(workers[place].ask(number, last=number == args.rounds))
                time.sleep(PAUSE)
        progress("")
    return {
        "title": work.title,
        "data": described,
        "per_step": not work.whole_run,
        "products": products,
        "rows": [summary(row, rows, products, work) for row in rows],
    }


def peer_rows(work: str, peers: Iterable[str], revisions: Iterable[str]) -> list[Row]:
    """A row for each peer at a work, and after this checkout's own those at other revisions."""
    rows = []
    for peer in peers:
        entry = PEERS[peer]
        if work not in entry.works and not entry.unable:
            continue
        row = {"peer": peer, "title": entry.title, "status": "ok", "rounds": []}
        rows.append(row | unable(peer, work))
        if peer in OWN_PEERS:
            rows += [row | {"title": f"{entry.title} at {name}", "revision": name, "rounds": []} for name in revisions]
    return rows


def product_rows(rows: list[Row]) -> dict[str, Row]:
    """A row for the rate of matrix products in each type that peers compute in."""
    types = dict.fromkeys(PEERS[row["peer"]].dtype for row in rows if row["status"] == "ok")
    return {
        dtype: {"peer": METER + dtype, "title": f"matrix products, {dtype}", "status": "ok", "rounds": []}
        for dtype in types
    }


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


def unable(peer: str, work: str) -> dict[str, str]:
    """Say why a peer cannot do a work; nothing if it can."""
    entry = PEERS[peer]
    if work not in entry.works:
        return {"status": "left out", "reason": entry.unable}
    if find_spec(entry.package) is None:
        return {"status": "not installed", "reason": entry.package}
    return {}


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
