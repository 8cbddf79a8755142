"""A search's file: every trial's course, the members of those still running, the best parameters so far."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.artifacts import checkpoint
from jaxfc.search.candidates import Group
from jaxfc.search.population import Member, member_shape
from jaxfc.search.trials import Trial
from jaxfc.training.program import Best

KIND = "jaxfc search"
STATUSES = ("running", "finished", "stopped", "patience", "failed")
SHARE = 0.1  # of the time that may go into writing the file between rungs


@dataclass
class State:
    """What a search consists of between two chunks.

    Args:
        trials: all trials.
        groups: what they are grouped into.
        members: by trial, its members on the folds; of running trials that have begun.
        kept: by trial, the best parameters on the folds; of the best trials that have ended.
    """

    trials: list[Trial]
    groups: Sequence[Group]
    members: dict[int, list[Member]] = field(default_factory=dict)
    kept: dict[int, list[Best]] = field(default_factory=dict)

    def group_of(self, number: int) -> Group:
        """The group that a trial is in."""
        return next(group for group in self.groups if number in group.places)


class Storage:
    """Keeps a search's state in a file; without a path, nowhere.

    Args:
        path: the file.
        fingerprint: what makes the search this one; JSON can hold it.

    Raises:
        FileExistsError: the file exists and `resume` is False.
    """

    def __init__(self, path: str | Path | None, fingerprint: dict[str, Any], *, resume: bool) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = json.loads(json.dumps(fingerprint, default=list))
        self._saved, self._cost = time.monotonic(), 0.0
        if self.path and self.path.exists() and not resume:
            raise FileExistsError(f"{self.path} exists: pass resume=True to go on from it, or name another file")

    def save(self, state: State, *, sometimes: bool = False) -> None:
        """Write the state; with `sometimes`, only if it is a while since the last time.

        Raises:
            OSError: the file cannot be written; what stood there before is untouched.
        """
        start = time.monotonic()
        if self.path is None or (sometimes and start - self._saved < max(2.0, self._cost / SHARE)):
            return
        tree = {
            "trials": {
                str(t.number): {
                    "status": np.int32(STATUSES.index(t.status)),
                    "failed_at": np.int32(t.failed_at or 0),
                    "loss": t.loss,
                    "val": t.val,
                    "val_loss": t.val_loss,
                }
                for t in state.trials
                if t.epochs
            },
            "members": {str(number): list(members) for number, members in state.members.items()},
            "kept": {str(number): list(best) for number, best in state.kept.items()},
        }
        checkpoint.save(self.path, tree, {checkpoint.FORMAT: KIND, "search": self.fingerprint})
        self._saved = time.monotonic()
        self._cost = self._saved - start

    def restore(self, state: State) -> None:
        """Bring a new search to the state in the file, if there is one.

        Raises:
            FormatError: the file is corrupted, truncated, or no search of this library.
            ValueError: it is of another search; the first difference is named.
        """
        if self.path is None or not self.path.exists():
            return
        tensors, metadata = checkpoint.read(self.path, kind=KIND)
        self._compare(json.loads(metadata["search"]))
        for trial in state.trials:
            trial_tensors = _under(tensors, f"trials.{trial.number}.")
            if trial_tensors:
                trial.status = STATUSES[int(trial_tensors["status"])]
                trial.failed_at = int(trial_tensors["failed_at"]) or None
                trial.loss, trial.val, trial.val_loss = (trial_tensors[name] for name in ("loss", "val", "val_loss"))
            group = state.group_of(trial.number)
            for name, where in (("members", state.members), ("kept", state.kept)):
                mine = _under(tensors, f"{name}.{trial.number}.")
                if mine:
                    member = member_shape(group.recipe, group.first)
                    like = member if name == "members" else best_shape(group, trial.number)
                    found = checkpoint.restore(mine, [like] * len(trial.val), self.path)
                    where[trial.number] = jax.tree.map(np.asarray, found)

    def _compare(self, theirs: dict[str, Any]) -> None:
        for name in {**self.fingerprint, **theirs}:
            if theirs.get(name) != self.fingerprint.get(name):
                raise ValueError(f"{self.path} is of another search (its {name} differ): name another folder")


def best_shape(group: Group, number: int) -> Best:
    """The shapes of a trial's best parameters on a fold, without what pads them."""
    return _shapes(group.own(number, _zeros(member_shape(group.recipe, group.first).best)))


def _under(tensors: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def _shapes(arrays: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arrays)
