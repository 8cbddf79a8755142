"""What a training has to show: its course, what a callback is told, and what `fit` returns."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxfc.artifacts.model import Model
from jaxfc.data import Dataset
from jaxfc.networks import Network
from jaxfc.networks.contract import Params, Stats
from jaxfc.tasks import Task
from jaxfc.training.step import TrainState

Epochs = Float[np.ndarray, " epochs_and_one"]


class Histories(NamedTuple):
    """A run's course. What is measured begins with what was measured before the first epoch.

    >>> Histories(np.zeros(80, "f"), *np.zeros((4, 3), "f")).val.shape
    (3,)
    """

    loss: Float[np.ndarray, " iterations"]
    train: Epochs
    val: Epochs
    val_loss: Epochs
    val_raw: Epochs


class EpochReport(NamedTuple):
    """What a callback is told after each epoch. `state` is valid until the callback returns: copy what you keep.

    Scores are of the metric that ranks: accuracy, in a classification.

    >>> from jaxfc import FCNet, fit, load
    >>> def show(report):
    ...     print(report.epoch, len(report.losses), report.val_score > 0.1)
    >>> result = fit(FCNet(64, (8,), 10), "adam", load("digits"), epochs=2, verbose=False, callbacks=[show])
    1 40 True
    2 40 True
    """

    epoch: int
    losses: Float[np.ndarray, " iterations"]
    train_score: float
    val_score: float
    val_loss: float
    state: TrainState

    @property
    def train_acc(self) -> float:
        """`train_score` by the name it has in a classification."""
        return self.train_score

    @property
    def val_acc(self) -> float:
        """`val_score` by the name it has in a classification."""
        return self.val_score


class Result(NamedTuple):
    """What `fit` returns.

    `params` and `stats` are those after the last epoch; `best_params` and `best_stats` those of the best epoch,
    `best_epoch`: the one with the best validation score, and of equals that with the least validation loss.
    Where averages of parameters are kept (`ema_decay`), `best_params` are averages, and `best_raw` the parameters
    beside them (else None). Histories are NumPy arrays: `loss_history` per iteration; the others per epoch, the
    first entry before any training. Scores are of `metric`, the task's that ranks. `stopped` says why the run
    ended: `"finished"`, `"patience"`, `"interrupted"` or `"callback"`.

    >>> from jaxfc import FCNet, fit, load
    >>> result = fit(FCNet(64, (8,), 10), "adam", load("digits"), epochs=2, verbose=False)
    >>> result.loss_history.shape, result.val_history.shape, result.stopped, result.metric
    ((80,), (3,), 'finished', 'acc')
    """

    net: Network
    task: Task
    params: Params
    stats: Stats
    best_params: Params
    best_stats: Stats
    best_raw: Any
    best_score: float
    best_epoch: int
    loss_history: Float[np.ndarray, " iterations"]
    train_history: Epochs
    val_history: Epochs
    val_loss_history: Epochs
    val_raw_history: Epochs
    opt_state: Any
    stopped: str
    augmentations: tuple = ()

    @property
    def metric(self) -> str:
        """The name of the metric that ranks."""
        return self.task.rank

    @property
    def best_val_acc(self) -> float:
        """`best_score` by the name it has in a classification."""
        return self.best_score

    @property
    def train_acc_history(self) -> Epochs:
        """`train_history` by the name it has in a classification."""
        return self.train_history

    @property
    def val_acc_history(self) -> Epochs:
        """`val_history` by the name it has in a classification."""
        return self.val_history

    def model(self, data: Dataset, *, raw: bool = False) -> Model:
        """The best parameters with all that is needed to use them: task, normalizer, class names, image shape.

        Args:
            data: the data trained on.
            raw: the parameters themselves where `best_params` are averages.

        Raises:
            ValueError: `raw`, and no averages were kept.
        """
        if raw and self.best_raw is None:
            raise ValueError("raw=True: no averages were kept (ema_decay), and best_params are the raw ones")
        params = self.best_raw if raw else self.best_params
        return Model.of(self.net, params, self.best_stats, data, task=self.task, augmentations=self.augmentations)
