"""A process that trains one peer, a round whenever it is told to.

It reads a line of JSON from standard input for each round, answers with one on what was its standard
output, and sleeps in between. Whatever a library prints goes to standard error instead.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from peers import PEERS, Peer
from peers.work import WORKS, Data


def peak_memory() -> int:
    """Return this process's peak resident memory in bytes."""
    try:
        # Not `ru_maxrss` where this is to be had: on Linux that begins with the peak of the parent.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def trainer(peer_name: str, work_name: str, quick: bool, folder: Path) -> Callable[[int], dict[str, Any]]:
    """Return a function that trains a peer for the round of a number, and says what it measured."""
    work = WORKS[work_name].quick() if quick else WORKS[work_name]
    entry, data = PEERS[peer_name], Data.read(folder)
    rows = len(data.x)
    peer: Peer = getattr(import_module(f"peers.{entry.module}"), entry.cls)(work, data, entry.variant)
    del data  # what a peer does not keep should not count as its memory

    def train(number: int) -> dict[str, Any]:
        plans = work.plans(rows, number)
        start = perf_counter()
        if work.whole_run or number == 0:
            peer.start()
        outcome = peer.train(plans)
        seconds = (perf_counter() - start) / getattr(peer, "runs", 1)
        if number == 0 and hasattr(peer, "tune"):
            peer.tune()
        steps = plans.shape[0] * plans.shape[1]
        last = max(1, len(outcome.losses) // 10)
        return {
            "seconds": seconds,
            "per_step": seconds / steps,
            "first_loss": float(outcome.losses[0]),
            "final_loss": float(sum(outcome.losses[-last:]) / last),
            "val_acc": outcome.val_acc,
            "peak_memory": peak_memory(),
            "note": getattr(peer, "note", ""),
        }

    return train


def meter(work_name: str, quick: bool, folder: Path) -> Callable[[int], dict[str, Any]]:
    """Return a function that measures the rate of matrix products, in place of a peer."""
    from peers.product import Product

    work = WORKS[work_name]
    features, classes = Data.read(folder).dims
    product = Product((features, *work.hidden_dims, classes), work.batch_size, flops=2e10 if quick else 2e11)
    return lambda _: product.measure() | {"step_flops": product.step_flops}


def serve(name: str, work_name: str, quick: bool, folder: Path, answers: TextIO) -> None:
    """Answer until standard input ends. An error is an answer, too, and the last one."""

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        measure = meter(work_name, quick, folder) if name == "product" else trainer(name, work_name, quick, folder)
        answer({"ready": True})
        for line in sys.stdin:
            answer(measure(json.loads(line)["round"]))
    except Exception as error:  # whatever it is, it belongs into the table
        lines = str(error).strip().splitlines()
        answer({"error": f"{type(error).__name__}: {lines[0] if lines else ''}"})
        raise


def main() -> None:
    name, work_name, quick, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(name, work_name, quick == "quick", Path(folder), answers)


if __name__ == "__main__":
    main()
