"""A process that trains one peer, a round whenever it is told to.

    python -m peers.worker PEER WORK full FOLDER [REVISION'S FOLDER]

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

from peers import PEERS, Entry, Peer
from peers.work import WORKS, Data

METER = "products in "  # followed by a type, in place of a peer's name


def peak_memory() -> int:
    """Return this process's peak resident memory in bytes."""
    try:
        # Not `ru_maxrss` where this is to be had: on Linux that begins with the peak of the parent.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def trainer(
    peer_name: str, work_name: str, quick: bool, folder: Path, root: Path | None
) -> Callable[[int, bool], dict[str, Any]]:
    """Return a function that trains a peer for the round of a number, and says what it measured.

    Args:
        peer_name: its name in `PEERS`.
        work_name: the name of a work in `WORKS`.
        quick: do the quick form of it.
        folder: where the work's arrays are.
        root: a folder with another revision of jaxfc, whose own peer it then is.
    """
    work = WORKS[work_name].quick() if quick else WORKS[work_name]
    entry, data = PEERS[peer_name], Data.read(folder)
    rows = len(data.x)
    peer: Peer = peer_class(entry, root)(work, data, entry.variant)
    del data  # what a peer does not keep should not count as its memory

    def train(number: int, last: bool) -> dict[str, Any]:
        plans = work.plans(rows, number)
        start = perf_counter()
        if work.whole_run or number == 0:
            peer.start()
        outcome = peer.train(plans)
        seconds = (perf_counter() - start) / getattr(peer, "runs", 1)
        memory = peak_memory()
        if number == 0 and hasattr(peer, "tune"):
            peer.tune()
        steps = plans.shape[0] * plans.shape[1]
        tenth = max(1, len(outcome.losses) // 10)
        return {
            "seconds": seconds,
            "per_step": seconds / steps,
            "first_loss": float(outcome.losses[0]),
            "final_loss": float(sum(outcome.losses[-tenth:]) / tenth),
            "val_acc": accuracy(peer, folder) if last and outcome.val_acc is None else outcome.val_acc,
            "peak_memory": memory,
            "note": getattr(peer, "note", ""),
        }

    return train


def peer_class(entry: Entry, root: Path | None) -> type[Peer]:
    """The class of a peer, of this checkout or of the revision in a folder."""
    if root is None:
        return getattr(import_module(f"peers.{entry.module}"), entry.cls)
    from peers import revision

    return revision.peer_class(root, entry)


def accuracy(peer: Peer, folder: Path) -> float:
    """What a peer that has been trained reaches on the validation rows."""
    if hasattr(peer, "accuracy"):
        return peer.accuracy()
    from peers import revision

    return revision.accuracy(peer, Data.read(folder))


def meter(dtype: str, work_name: str, quick: bool, folder: Path) -> Callable[[int, bool], dict[str, Any]]:
    """Return a function that measures the rate of matrix products of a type, in place of a peer."""
    from peers.product import Product

    work = WORKS[work_name]
    features, classes = Data.read(folder).dims
    product = Product((features, *work.hidden_dims, classes), work.batch_size, dtype, flops=2e10 if quick else 2e11)
    return lambda *_: product.measure() | {"step_flops": product.step_flops}


def serve(name: str, work_name: str, quick: bool, folder: Path, root: Path | None, answers: TextIO) -> None:
    """Answer until standard input ends. An error is an answer, too, and the last one."""

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        if name.startswith(METER):
            measure = meter(name.removeprefix(METER), work_name, quick, folder)
        else:
            measure = trainer(name, work_name, quick, folder, root)
        answer({"ready": True})
        for line in sys.stdin:
            order = json.loads(line)
            answer(measure(order["round"], order["last"]))
    except Exception as error:  # whatever it is, it belongs into the table
        lines = str(error).strip().splitlines()
        answer({"error": f"{type(error).__name__}: {lines[0] if lines else ''}"})
        raise


def main() -> None:
    name, work_name, size, folder, *root = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(name, work_name, size == "quick", Path(folder), Path(root[0]) if root else None, answers)


if __name__ == "__main__":
    main()
