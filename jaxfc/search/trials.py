"""Trials, and what a search returns."""

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxfc.config import TrainConfig
from jaxfc.data import Dataset
from jaxfc.ensemble import Ensemble
from jaxfc.model import Model
from jaxfc.network import FCNet, Params, Stats
from jaxfc.search.spaces import Settings
from jaxfc.step import Best

Status = Literal["running", "finished", "stopped", "patience", "failed"]


@dataclass
class Trial:
    """A candidate and its course.

    Args:
        number: its number, from 0.
        settings: what sets it apart.
        config: its whole configuration: `jaxfc.fit` of it gives the same training.
        bracket: the number of its bracket.
        rungs: the epochs at which its bracket is measured.
        status: `"running"`; `"finished"`; `"stopped"` at a rung; `"patience"`: stopped early; `"failed"`: diverged.
        failed_at: the iteration, from 1, whose loss was not finite.
        loss: the mean loss of each epoch, by fold.
        val_acc: the accuracy on the fold's validation rows after each epoch.

    >>> curve = np.array([[0.5, 0.9, 0.8]])
    >>> trial = Trial(0, {}, TrainConfig(), 0, (1, 3), loss=curve, val_acc=curve)
    >>> trial.score, trial.best_epoch, trial.at_rung(1)
    (0.9, 2, 0.5)
    """

    number: int
    settings: Settings
    config: TrainConfig
    bracket: int
    rungs: tuple[int, ...]
    loss: Float[np.ndarray, "folds epochs"]
    val_acc: Float[np.ndarray, "folds epochs"]
    status: Status = "running"
    failed_at: int | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return self.val_acc.shape[1]

    @property
    def curve(self) -> Float[np.ndarray, " epochs"]:
        """The validation accuracy after each epoch, the mean over folds."""
        return self.val_acc.mean(axis=0)

    @property
    def score(self) -> float:
        """The best of the curve; NaN for a trial that failed or has not begun."""
        return float(self.curve.max()) if self.epochs and self.status != "failed" else float("nan")

    @property
    def best_epoch(self) -> int:
        """The epoch of the score, from 1; 0 where there is none."""
        return int(np.argmax(self.curve)) + 1 if self.score == self.score else 0

    def at_rung(self, epochs: int) -> float:
        """The best of the curve up to so many epochs; NaN if it was not trained that far."""
        return float(self.curve[:epochs].max()) if self.status != "failed" and self.epochs >= epochs else float("nan")


def ranked(trials: list[Trial]) -> list[Trial]:
    """Trials that have a score, the best first; the earlier of equals.

    >>> trials = [Trial(i, {}, TrainConfig(), 0, (1,), x, x) for i, x in enumerate(np.array([[[0.5]], [[0.9]]]))]
    >>> [trial.number for trial in ranked(trials)]
    [1, 0]
    """
    return sorted((t for t in trials if t.score == t.score), key=lambda t: (-t.score, t.number))


@dataclass
class SearchResult:
    """What a search found.

    Args:
        trials: all trials, by number.
        nets: the network of each.
        programs: how many compiled programs it took; a process compiles each once.
        groups: how many groups of candidates they serve.
        kept: for the best trials, their best parameters on each fold.
        data: the data.
        interrupted: Ctrl-C ended it before its end.

    >>> from jaxfc import load, search
    >>> data = load("digits")
    >>> found = search.run(data, TrainConfig(hidden=(16,), epochs=1), [{"seed": 0}, {"seed": 1}], keep=2)
    >>> found.model().predict(data.x_test).shape, found.ensemble(2).num_members
    ((300,), 2)
    """

    trials: list[Trial]
    nets: list[FCNet]
    programs: int
    groups: int
    kept: dict[int, list[Best]]
    data: Dataset = field(repr=False)
    interrupted: bool = False

    @property
    def best(self) -> Trial:
        """The trial with the highest validation accuracy.

        Raises:
            ValueError: none has one.
        """
        order = ranked(self.trials)
        if not order:
            raise ValueError("no candidate was trained without failing: try smaller learning rates")
        return order[0]

    def model(self) -> Model:
        """The best trial's model, with the parameters of its best epoch.

        Raises:
            ValueError: no trial succeeded; or they were trained on folds, and there are several models.
        """
        kept = self.kept[self.best.number]
        if len(kept) > 1:
            raise ValueError(f"trained on {len(kept)} folds: use ensemble(1), or train best.config on all rows")
        return Model.of(self.nets[self.best.number], *self._arrays(kept[0]), self.data)

    def ensemble(self, count: int) -> Ensemble:
        """The mean of the `count` best trials' probabilities (of all their folds), as one model.

        Raises:
            ValueError: more than were kept; see `keep` of `jaxfc.search.run`.
        """
        order = ranked(self.trials)[:count]
        missing = [t.number for t in order if t.number not in self.kept]
        if missing or count < 1 or not order:
            raise ValueError(
                f"ensemble of {count}: {len(self.kept)} trials' parameters were kept; search with keep={count}"
            )
        members = [(self.nets[t.number], *self._arrays(best)) for t in order for best in self.kept[t.number]]
        return Ensemble.of(members, self.data)

    @staticmethod
    def _arrays(best: Best) -> tuple[Params, Stats]:
        return jax.tree.map(jnp.asarray, (best.params, best.stats))
