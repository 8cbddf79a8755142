"""Estimators of a population of networks, of which the best are joined."""

from typing import Any

import jax

from jaxfc import search
from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.data import Encoder
from jaxfc.data.dataset import Dataset
from jaxfc.search import SearchResult
from jaxfc.search.loop import carry_out, lay_out
from jaxfc.search.recipes import table_spaces
from jaxfc.sklearn.base import Table
from jaxfc.sklearn.callbacks import Epochs
from jaxfc.sklearn.kinds import Classes, Numbers
from jaxfc.sklearn.rows import Rows, together
from jaxfc.training.config import TrainConfig


class Population(Table):
    """An estimator that trains many networks at once, and predicts by the mean of the best.

    Beside those of all tables it has the parameters `n_candidates`, `n_members`, `spaces`, `validation_fraction` and
    `refit`.
    """

    def _needs_validation(self) -> bool:
        return True

    def _held_out(self, rows: Rows, val: Rows | None, seed: int) -> tuple[Rows, Rows | None]:
        self._again = bool(self.refit) and val is None
        return super()._held_out(rows, val, seed)

    def _data(self, rows: Rows, val: Rows | None, encoder: Encoder | None = None, room: int = 0) -> Dataset:
        # With room for the rows held out, the second training is the first one's program.
        return super()._data(rows, val, encoder, room if val is None or not self._again else val.size)

    def _train(self, data: Dataset, config: TrainConfig, validated: bool, told: dict[str, Any]) -> None:
        whole, again = Epochs(self, 0, told), self.__dict__.pop("_again")
        whole.begin()
        spaces = table_spaces() if self.spaces is None else dict(self.spaces)
        settings = search.sample(spaces, self.n_candidates, seed=config.seed)
        found = search.run(data, config, settings, keep=self.n_candidates, progress=bool(self.verbose))
        numbers = found.selected(self.n_members)
        self.model_ = found.joined(numbers)
        self.candidates_ = [{**trial.settings, "score": trial.score} for trial in found.trials]
        self.best_validation_score_ = found.best.score
        self.n_iter_ = max(trial.epochs for trial in found.trials)
        interrupted = found.interrupted
        if again and not interrupted:
            rows, val = together(data)
            everything = super()._data(rows, val)
            model = _trained_again(found, numbers, everything, config, progress=bool(self.verbose))
            self.model_, interrupted = (self.model_, True) if model is None else (model, False)
        whole.end()
        if interrupted:
            raise KeyboardInterrupt


def _trained_again(
    found: SearchResult, numbers: list[int], data: Dataset, config: TrainConfig, *, progress: bool
) -> Ensemble | None:
    """The chosen networks, each trained once more on all rows to the last epoch and as often in the mean as chosen.

    One that diverges is left out. None, if it was interrupted.
    """
    structures = {}
    for number, blueprint in enumerate(found.blueprints):
        structures.setdefault(jax.tree.structure(blueprint.net), number)
    mine = sorted(set(numbers))
    # One of each size, so that networks are padded to the same size as in the search: its program is used again.
    there = {jax.tree.structure(found.blueprints[number].net) for number in mine}
    mine += [number for structure, number in structures.items() if structure not in there]
    settings = [found.trials[number].settings for number in mine]
    pad = found.groups < len(structures)
    layout = lay_out(data, config, settings, keep=len(mine), pad=pad)
    again = carry_out(layout, progress=progress, last=True)
    if again.interrupted:
        return None
    places = [place for place in map(mine.index, numbers) if place in again.kept]
    return again.joined(places) if places else found.joined(numbers)


class FCSearchClassifier(Classes, Population):
    """A population of networks for tables, as a scikit-learn classifier: the best of them, joined.

    All candidates are trained at once, as few programs, on the rows that are not held out; which are joined, and how
    often each, is chosen greedily on those that are (Caruana et al. 2004). The chosen ones are then trained again, on
    all rows. Rows given to `fit` as `X_val` and `y_val` are never trained on, so then nothing is trained again. Inputs
    and None are as for `FCClassifier`.

    Args:
        n_candidates: how many networks to train.
        n_members: how many to join, each as often as it helps.
        spaces: for settings of `jaxfc.TrainConfig` by name, what to draw them from; see `jaxfc.search`. By default what
            suits a table; see `jaxfc.search.recipes`.
        epochs: passes over the rows.
        batch_size: rows in a batch.
        label_smoothing: in [0, 1), of the loss of classes.
        class_weight: `"balanced"`, or weights by class.
        columns: as for `FCClassifier`.
        validation_fraction: how many rows to hold out, by class; none where `fit` is given `X_val` and `y_val`.
        refit: train the chosen networks again with the rows that were held out, to the last epoch.
        random_state: of what is drawn and held out.
        verbose: show a progress bar.

    Attributes:
        model_: the trained `jaxfc.Ensemble`.
        candidates_: each candidate's settings and score.
        best_validation_score_: the best score of one candidate.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> spaces = {"learning_rate": search.loguniform(1e-3, 1e-2)}
    >>> net = FCSearchClassifier(4, n_members=3, spaces=spaces, random_state=0).fit(X, y)
    >>> net.model_.num_members, net.score(X, y) > 0.9
    (3, True)
    """

    def __init__(
        self,
        n_candidates: int = 64,
        *,
        n_members: int = 16,
        spaces: Any = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        label_smoothing: float | None = None,
        class_weight: Any = None,
        columns: Any = None,
        validation_fraction: float = 0.2,
        refit: bool = True,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_candidates = n_candidates
        self.n_members = n_members
        self.spaces = spaces
        self.epochs = epochs
        self.batch_size = batch_size
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.columns = columns
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.random_state = random_state
        self.verbose = verbose


class FCSearchRegressor(Numbers, Population):
    """A population of networks for tables, as a scikit-learn regressor: the best of them, joined.

    As `FCSearchClassifier`, of one or several numbers, or their quantiles.

    Args:
        n_candidates: how many networks to train.
        n_members: how many to join, each as often as it helps.
        spaces: as for `FCSearchClassifier`.
        epochs: passes over the rows.
        batch_size: rows in a batch.
        loss: squared, huber or quantile.
        quantiles: to predict, such as `(0.1, 0.5, 0.9)`, by the quantile loss; see `predict_quantiles`.
        columns: as for `FCClassifier`.
        validation_fraction: how many rows to hold out; none where `fit` is given `X_val` and `y_val`.
        refit: train the chosen networks again with the rows that were held out, to the last epoch.
        random_state: of what is drawn and held out.
        verbose: show a progress bar.

    Attributes:
        model_: the trained `jaxfc.Ensemble`.
        candidates_: each candidate's settings and score.
        best_validation_score_: the best score of one candidate.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> spaces = {"learning_rate": search.loguniform(1e-3, 1e-2)}
    >>> FCSearchRegressor(4, n_members=3, spaces=spaces, random_state=0).fit(X, y).score(X, y) > 0.4
    True
    """

    def __init__(
        self,
        n_candidates: int = 64,
        *,
        n_members: int = 16,
        spaces: Any = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        loss: str = "squared",
        quantiles: Any = None,
        columns: Any = None,
        validation_fraction: float = 0.2,
        refit: bool = True,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_candidates = n_candidates
        self.n_members = n_members
        self.spaces = spaces
        self.epochs = epochs
        self.batch_size = batch_size
        self.loss = loss
        self.quantiles = quantiles
        self.columns = columns
        self.validation_fraction = validation_fraction
        self.refit = refit
        self.random_state = random_state
        self.verbose = verbose
