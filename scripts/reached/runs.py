"""A run of a recipe: a process of its own, as a user starts it, and what it says at its end."""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import lines

from reached.changes import CHANGES


class Key(NamedTuple):
    """Which run: of which recipe, with which change to it (none: the empty name) or by which peer, from which seed."""

    recipe: str
    change: str
    seed: int


def read(path: Path) -> dict[Key, dict[str, Any]]:
    """What was measured so far, by its key."""
    return {Key(*(entry[name] for name in Key._fields)): entry for entry in lines.read(path)}


def run(key: Key) -> dict[str, Any]:
    """Train, in the recipe's own minutes, and return what was reached.

    The seconds are those of the whole command, from its start to its end.

    Raises:
        RuntimeError: the command failed; with what it said.
    """
    flags = ["--seed", str(key.seed), *(CHANGES[key.change].flags if key.change else ())]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            str(Path(sys.executable).with_name("jaxfc")),
            "train",
            "--recipe",
            key.recipe,
            *flags,
            "--out",
            str(out),
        ]
        begin = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        settings = json.loads((out / "config.json").read_text())
        with (out / "history.csv").open() as file:
            epochs = list(csv.DictReader(file))
    entry = key._asdict() | {"seconds": round(seconds, 1), "epochs": settings["epochs"], "cores": os.cpu_count()}
    entry["val"] = _said("val_acc", done.stdout)
    if not key.change:
        entry["test"] = _said("test_acc", done.stdout)
        entry["history"] = [round(float(row["val_acc"]), 4) for row in epochs]
    return entry


def run_peer(key: Key) -> dict[str, Any]:
    """What a peer reaches in the recipe's minutes; `key.change` is its name.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    command = [sys.executable, "-m", "reached.peers", key.change, key.recipe, str(key.seed)]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return key._asdict() | {"seconds": round(seconds, 1), "cores": os.cpu_count()} | json.loads(done.stdout)


def _said(name: str, text: str) -> float:
    return float(re.findall(rf"^{name}: (\d\.\d+)", text, re.M)[-1])
