"""Estimators of a population of networks, of which the best are joined."""

from typing import Any

from jaxfc import search
from jaxfc.data.dataset import Dataset
from jaxfc.search.recipes import table_spaces
from jaxfc.sklearn.base import Table
from jaxfc.sklearn.callbacks import Epochs
from jaxfc.sklearn.kinds import Classes, Numbers
from jaxfc.training.config import TrainConfig


class Population(Table):
    """An estimator that trains many networks at once, and predicts by the mean of the best.

    Beside those of all tables it has the parameters `n_candidates`, `n_members`, `spaces` and `validation_fraction`.
    """

    def _needs_validation(self) -> bool:
        return True

    def _train(self, data: Dataset, config: TrainConfig, validated: bool, told: dict[str, Any]) -> None:
        whole = Epochs(self, 0, told)
        whole.begin()
        spaces = table_spaces() if self.spaces is None else dict(self.spaces)
        settings = search.sample(spaces, self.n_candidates, seed=config.seed)
        found = search.run(data, config, settings, keep=self.n_candidates, progress=bool(self.verbose))
        self.model_ = found.selection(self.n_members)
        self.candidates_ = [{**trial.settings, "score": trial.score} for trial in found.trials]
        self.best_validation_score_ = found.best.score
        self.n_iter_ = max(trial.epochs for trial in found.trials)
        whole.end()
        if found.interrupted:
            raise KeyboardInterrupt


class FCSearchClassifier(Classes, Population):
    """A population of networks for tables, as a scikit-learn classifier: the best of them, joined.

    All candidates are trained at once, as few programs, on the rows that are not held out; which are joined, and how
    often each, is chosen greedily on those that are (Caruana et al. 2004). Inputs and None are as for `FCClassifier`.

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
        self.random_state = random_state
        self.verbose = verbose
