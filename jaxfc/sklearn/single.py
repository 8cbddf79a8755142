"""Estimators of one network."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils import check_random_state

from jaxfc.artifacts.model import Model
from jaxfc.data.dataset import Dataset
from jaxfc.networks.tables import with_edges
from jaxfc.sklearn.base import Table, plain
from jaxfc.sklearn.callbacks import Epochs
from jaxfc.sklearn.rows import joined
from jaxfc.tasks import Task
from jaxfc.training.config import TrainConfig
from jaxfc.training.fit import carry_out
from jaxfc.training.prepare import Prepared, prepare
from jaxfc.training.result import EpochReport, Result
from jaxfc.training.step import TrainState, init_state

AT_ONCE = 4096  # iterations of one program, about
MOST_EPOCHS = 50  # of one program


class OneNetwork(Table):
    """An estimator that trains one network.

    Beside those of all tables it has the parameters `early_stopping`, `n_iter_no_change`, `validation_fraction`,
    `warm_start` and `verbose`.
    """

    def _needs_validation(self) -> bool:
        return self.early_stopping

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"patience": plain(self.n_iter_no_change) if self.early_stopping else None}

    def _train(self, data: Dataset, config: TrainConfig, validated: bool, told: dict[str, Any]) -> None:
        begin = self._begun if self.warm_start and hasattr(self, "model_") else None
        result = self._carry_out(data, config, told, begin=begin)
        kept = (result.best_params, result.best_stats) if self.early_stopping else (result.params, result.stats)
        self.model_ = Model.of(result.net, *kept, data, task=result.task)
        self.validation_scores_ = result.val_history[1:].astype(np.float64) if validated else None
        self.best_validation_score_ = result.best_score if validated else None
        self._optimizer = None
        self._ended(result.stopped)

    def _carry_out(
        self,
        data: Dataset,
        config: TrainConfig,
        told: dict[str, Any],
        *,
        begin: Callable[[Prepared], TrainState] | None = None,
        task: Task | None = None,
    ) -> Result:
        """Train, and note the course; callbacks are told."""
        epochs = Epochs(self, config.epochs, told, lambda state: self._as_fitted(prepared, data, state))
        prepared = _prepared(data, config, in_steps=epochs.wanted)
        if task is not None:
            prepared = prepared._replace(task=task, net=with_edges(prepared.net, self.model_.net))
        listeners = [*([epochs] if epochs.wanted else []), *([_show] if self.verbose else [])]
        epochs.begin()
        start = None if begin is None else begin(prepared)
        result = carry_out(prepared, callbacks=listeners, verbose=False, progress=False, start=start)
        if not len(result.loss_history):
            raise KeyboardInterrupt
        losses = result.loss_history.reshape(-1, len(data.x_train) // prepared.settings.batch_size)
        self.loss_curve_ = losses.mean(axis=1, dtype=np.float64).tolist()
        self.loss_, self.n_iter_ = self.loss_curve_[-1], len(self.loss_curve_)
        self._whole = epochs
        return result

    def _ended(self, stopped: str) -> None:
        """Say that the fit has ended, once the estimator predicts."""
        self.__dict__.pop("_whole").end()
        if stopped == "interrupted":
            raise KeyboardInterrupt

    def _as_fitted(self, prepared: Prepared, data: Dataset, state: TrainState) -> dict[str, Any]:
        """The attributes with which the estimator predicts as if it had stopped here."""
        return {
            "model_": Model.of(
                prepared.net, *jax.tree.map(jnp.copy, (state.params, state.stats)), data, task=prepared.task
            )
        }

    def _begun(self, prepared: Prepared, optimizer: Any = None) -> TrainState:
        """A state to begin with that has the model's parameters, and the rule's state of an earlier training."""
        net, key = prepared.net, jax.random.key(prepared.settings.seed)
        if jax.tree.structure(net) != jax.tree.structure(self.model_.net):
            raise ValueError(
                "the rows, or parameters such as hidden, make another network than the one trained before: leave them "
                "as they were, or train anew with warm_start=False"
            )
        state = init_state(net, prepared.recipe.rule, key, **prepared.hyper)
        # Copied: a training's state is donated, and NumPy's arrays may be read by JAX where they lie.
        params, stats, slots = jax.tree.map(jnp.array, (self.model_.params, self.model_.stats, optimizer))
        return state._replace(params=params, stats=stats, opt_state=state.opt_state if optimizer is None else slots)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, first: bool, learn: bool = False) -> "OneNetwork":
        """One pass over rows, from where the last one ended."""
        rows = joined(self._weighed(self._read(X, y, sample_weight, first=first, learn=learn)))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.t_ = 0 if first else getattr(self, "t_", 0)
        # Inputs' scale is that of the first rows, and so is that of what is predicted.
        data, task, begin = self._data(rows, None, None if first else self.model_.normalizer), None, None
        if not first:
            task, optimizer = self.model_.task, getattr(self, "_optimizer", None)
            begin = partial(self._begun, optimizer=optimizer)
        config = self._config(data, (seed + self.t_) % (2**31 - 1))
        config = dataclasses.replace(config, epochs=1, schedule="constant", patience=None)
        result = self._carry_out(data, config, {"X": X, "y": y}, begin=begin, task=task)
        self.model_ = Model.of(result.net, result.params, result.stats, data, task=result.task)
        self._optimizer = jax.device_get(result.opt_state)
        self.t_ += rows.size
        self._ended(result.stopped)
        return self


def _prepared(data: Dataset, config: TrainConfig, in_steps: bool = False) -> Prepared:
    """A training prepared; `in_steps`, an epoch a program."""
    net, task, rule, hyper = config.build(data, len(data.x_train))
    # By the length of the rows alone, so that another number of epochs compiles nothing.
    iterations = max(len(data.x_train) // max(config.batch_size, 1), 1)
    group = 1 if in_steps or config.epochs == 1 else max(min(AT_ONCE // iterations, MOST_EPOCHS), 1)
    return prepare(net, rule, data, config.settings, task=task, hyper=hyper, train_sample=None, group=group)


def _show(report: EpochReport) -> None:
    print(f"epoch {report.epoch}, loss {report.losses.mean():.6f}")
