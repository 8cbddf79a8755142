"""Trials, and what a search returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.model import Model
from jaxfc.artifacts.predictor import About
from jaxfc.data import Dataset
from jaxfc.search.candidates import Blueprint
from jaxfc.search.folds import Fold
from jaxfc.search.greedy import chosen
from jaxfc.search.spaces import Settings
from jaxfc.training.config import TrainConfig
from jaxfc.training.program import Best

Status = Literal["running", "finished", "stopped", "patience", "failed"]
Curves = Float[np.ndarray, "folds epochs"]


@dataclass
class Trial:
    """A candidate and its course.

    Args:
        number: its number, from 0.
        settings: what sets it apart.
        config: its whole configuration, where the search was given one: `jaxfc train` of it is the same training.
        bracket: the number of its bracket.
        rungs: the epochs at which its bracket is measured.
        loss: the mean loss of each epoch, by fold.
        val: the score on the fold's validation rows after each epoch.
        val_loss: and the loss there.
        metric: the metric that the score is of.
        higher: whether more of it is better.
        status: `"running"`; `"finished"`; `"stopped"` at a rung; `"patience"`: stopped early; `"failed"`: diverged.
        failed_at: the iteration, from 1, whose loss was not finite.

    >>> curve = np.array([[0.5, 0.9, 0.8]])
    >>> trial = Trial(0, {}, None, 0, (1, 3), loss=curve, val=curve, val_loss=curve)
    >>> trial.score, trial.best_epoch, trial.at_rung(1)
    (0.9, 2, 0.5)
    """

    number: int
    settings: Settings
    config: TrainConfig | None
    bracket: int
    rungs: tuple[int, ...]
    loss: Curves
    val: Curves
    val_loss: Curves
    metric: str = "acc"
    higher: bool = True
    status: Status = "running"
    failed_at: int | None = None
    _found: dict[int, tuple[int, float, float]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return self.val.shape[1]

    @property
    def curve(self) -> Float[np.ndarray, " epochs"]:
        """The validation score after each epoch, the mean over folds."""
        return self.val.mean(axis=0)

    @property
    def val_acc(self) -> Curves:
        """`val` by the name it has in a classification."""
        return self.val

    def _best(self, epochs: int) -> int | None:
        """The best of the first epochs, from 0; of equals, that of the least validation loss."""
        epochs = min(epochs, self.epochs)
        if self.status == "failed" or not epochs:
            return None
        if epochs not in self._found:  # what was measured stays; trials are ranked again after every chunk
            curve = self.curve[:epochs] if self.higher else -self.curve[:epochs]
            losses = self.val_loss.mean(axis=0)[:epochs]
            worst = np.where(np.isnan(curve), np.inf, -curve), np.nan_to_num(losses, nan=np.inf)
            best = int(np.lexsort(worst[::-1])[0])
            self._found[epochs] = best, float(self.curve[best]), float(losses[best])
        return self._found[epochs][0]

    @property
    def score(self) -> float:
        """The best of the curve; NaN for a trial that failed or has not begun."""
        return float("nan") if self._best(self.epochs) is None else self._found[self.epochs][1]

    @property
    def best_epoch(self) -> int:
        """The epoch of the score, from 1; 0 where there is none."""
        best = self._best(self.epochs)
        return 0 if best is None or self.score != self.score else best + 1

    @property
    def rank(self) -> tuple[float, float, int]:
        """What trials are sorted by, the best first: score, validation loss at that epoch, number."""
        loss = self._found[self.epochs][2] if self.best_epoch else float("inf")
        return -self.score if self.higher else self.score, loss, self.number

    def at_rung(self, epochs: int) -> float:
        """The best of the curve up to so many epochs; NaN if it was not trained that far."""
        best = self._best(epochs) if self.epochs >= epochs else None
        return float("nan") if best is None else self._found[epochs][1]


def ranked(trials: list[Trial]) -> list[Trial]:
    """Trials that have a score, the best first; of equals that of the least loss, then the earlier one.

    >>> trials = [Trial(i, {}, None, 0, (1,), x, x, x) for i, x in enumerate(np.array([[[0.5]], [[0.9]]]))]
    >>> [trial.number for trial in ranked(trials)]
    [1, 0]
    """
    return sorted((t for t in trials if t.score == t.score), key=lambda t: t.rank)


@dataclass
class SearchResult:
    """What a search found.

    Args:
        trials: all trials, by number.
        blueprints: what each is: network, task, rule …
        programs: how many compiled programs it took; a process compiles each once.
        groups: how many groups of candidates they serve.
        kept: for the best trials, their best parameters on each fold.
        data: the data.
        folds: the folds.
        interrupted: Ctrl-C ended it before its end.

    >>> from jaxfc import load, search
    >>> data = load("digits")
    >>> found = search.run(data, TrainConfig(hidden=(16,), epochs=1), [{"seed": 0}, {"seed": 1}], keep=2)
    >>> found.model().predict(data.x_test).shape, found.ensemble(2).num_members
    ((300,), 2)
    """

    trials: list[Trial]
    blueprints: list[Blueprint]
    programs: int
    groups: int
    kept: dict[int, list[Best]]
    data: Dataset = field(repr=False)
    folds: list[Fold] = field(repr=False)
    interrupted: bool = False

    @property
    def best(self) -> Trial:
        """The trial with the best validation score.

        Raises:
            ValueError: none has one.
        """
        order = ranked(self.trials)
        if not order:
            raise ValueError("no candidate was trained without failing: try smaller learning rates")
        return order[0]

    def model(self, number: int | None = None) -> Model:
        """The best trial's model, with the parameters of its best epoch; or that of another trial that was kept.

        Raises:
            ValueError: no trial succeeded; this one was not kept; or they were trained on folds, and there are several
                models.
        """
        number = self.best.number if number is None else number
        if number not in self.kept:
            raise ValueError(
                f"model({number}): parameters were kept of {len(self.kept)} trials, and not of this one: "
                "search with a larger keep, up to the number of trials"
            )
        models = self._models(number)
        if len(models) > 1:
            raise ValueError(f"trained on {len(models)} folds: use ensemble(1), or train best.config on all rows")
        return models[0]

    def ensemble(self, count: int) -> Ensemble:
        """The mean of the `count` best trials' predictions (of all their folds), as one model.

        Raises:
            ValueError: more than were kept; see `keep` of `jaxfc.search.run`.
        """
        order = ranked(self.trials)[:count]
        missing = [t.number for t in order if t.number not in self.kept]
        if missing or count < 1 or not order:
            raise ValueError(
                f"ensemble of {count}: {len(self.kept)} trials' parameters were kept; search with keep={count}"
            )
        return Ensemble.of([model for t in order for model in self._models(t.number)])

    def selection(self, size: int) -> Ensemble:
        """The mean of `size` kept networks, some of them several times, chosen by `jaxfc.search.greedy`.

        They are chosen by what they predict for the validation rows.

        Raises:
            ValueError: they were trained on folds, or no network was kept.
        """
        return self.joined(self.selected(size))

    def selected(self, size: int) -> list[int]:
        """The numbers of the trials that `selection` joins, each as often as it is among them.

        Raises:
            ValueError: as `selection`.
        """
        if len(self.folds) > 1 or not self.kept or size < 1:
            raise ValueError(f"selection({size}): give a size of at least 1, of a search without folds that kept some")
        numbers = [trial.number for trial in ranked(self.trials) if trial.number in self.kept]
        models = [self._models(number)[0] for number in numbers]
        predictions = np.stack([model.prediction(self.data.x_val) for model in models])
        which = chosen(models[0].task, predictions, self.data.y_val, self.data.w_val, size=size)
        return [numbers[place] for place in which]

    def joined(self, numbers: Sequence[int]) -> Ensemble:
        """The mean of the networks of the kept trials of these numbers; one that is named twice counts twice."""
        models = {number: self._models(number) for number in set(numbers)}
        return Ensemble.of([model for number in numbers for model in models[number]])

    def _models(self, number: int) -> list[Model]:
        """A trial's models, one for each fold."""
        mine, weights = self.blueprints[number], self.data.weights("train")
        about = About.of(self.data, mine.settings.augmentations(self.data))
        models = []
        for fold, best in zip(self.folds, self.kept[number], strict=True):
            task = mine.task.fitted(self.data.y_train[fold.rows], None if weights is None else weights[fold.rows])
            params, stats = jax.tree.map(jnp.asarray, (best.params, best.stats))
            models.append(Model(mine.net, params, stats, fold.normalizer, about, task))
        return models
