"""The assignment's Solver."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxfc.artifacts.files import write_atomically
from jaxfc.cs231n import optim
from jaxfc.cs231n.layers import check_labels
from jaxfc.cs231n.rows import Rows
from jaxfc.cs231n.stretch import Stretches, is_compiled

__all__ = ["Solver"]

Array = np.ndarray


class Solver:
    """Trains a model, as the assignment's Solver does, print by print and draw by draw.

    Args:
        model: `params`, a dict of arrays, and `loss(X, y)`. The models of `fc_net` train by compiled
            programs; any other model step by step.
        data: `X_train`, `y_train`, `X_val`, `y_val`.

    Keyword Args:
        update_rule: a name of `jaxfc.cs231n.optim`.
        optim_config: the rule's configuration.
        lr_decay: factor on the learning rate after each epoch.
        batch_size: rows in a batch, drawn with replacement.
        num_epochs: number of epochs, each of `max(N // batch_size, 1)` iterations.
        num_train_samples: rows drawn to measure training accuracy on; None for all.
        num_val_samples: likewise for validation accuracy.
        checkpoint_name: pickle the run into `NAME_epoch_E.pkl` at every check.
        print_every: iterations between printed losses.
        verbose: print at all.

    Raises:
        ValueError: unknown arguments, an unknown rule, or labels that do not fit.
        TypeError: labels that are not integers.

    >>> from jaxfc.cs231n.classifiers.fc_net import TwoLayerNet
    >>> X, y = np.random.randn(20, 4), np.arange(20) % 3
    >>> data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}
    >>> solver = Solver(TwoLayerNet(4, 8, 3), data, num_epochs=2, batch_size=5, verbose=False)
    >>> solver.train()
    >>> len(solver.loss_history), len(solver.val_acc_history)
    (8, 3)
    """

    _compiled: Stretches | None = None  # while a compiled training runs

    def __init__(self, model: Any, data: dict[str, Array], **kwargs: Any) -> None:
        self.model = model
        self.X_train, self.y_train = data["X_train"], data["y_train"]
        self.X_val, self.y_val = data["X_val"], data["y_val"]
        self.update_rule: Any = kwargs.pop("update_rule", "sgd")
        self.optim_config = kwargs.pop("optim_config", {})
        self.lr_decay = kwargs.pop("lr_decay", 1.0)
        self.batch_size = kwargs.pop("batch_size", 100)
        self.num_epochs = kwargs.pop("num_epochs", 10)
        self.num_train_samples = kwargs.pop("num_train_samples", 1000)
        self.num_val_samples = kwargs.pop("num_val_samples", None)
        self.checkpoint_name = kwargs.pop("checkpoint_name", None)
        self.print_every = kwargs.pop("print_every", 10)
        self.verbose = kwargs.pop("verbose", True)
        if kwargs:
            raise ValueError("Unrecognized arguments " + ", ".join(f'"{name}"' for name in kwargs))
        if self.update_rule not in optim.ADAPTERS:
            raise ValueError(f'Invalid update_rule "{self.update_rule}"')
        self.update_rule = getattr(optim, self.update_rule)
        check_labels(self.X_train, self.y_train)
        check_labels(self.X_val, self.y_val)
        self._reset()

    def _reset(self) -> None:
        """Forget what was trained; the model keeps its parameters."""
        self.epoch = 0
        self.best_val_acc = 0
        self.best_params: dict[str, Array] = {}
        self.loss_history: list[float] = []
        self.train_acc_history: list[float] = []
        self.val_acc_history: list[float] = []
        self.optim_configs = {name: dict(self.optim_config) for name in self.model.params}

    def _step(self) -> None:
        """Take one step, on one batch."""
        rows = np.random.choice(len(self.X_train), self.batch_size)
        loss, grads = self.model.loss(self.X_train[rows], self.y_train[rows])
        self.loss_history.append(loss)
        for name, w in self.model.params.items():
            self.model.params[name], self.optim_configs[name] = self.update_rule(
                w, grads[name], self.optim_configs[name]
            )

    def _save_checkpoint(self) -> None:
        """Pickle the run, if it has a `checkpoint_name`."""
        if self.checkpoint_name is None:
            return
        names = (
            "model", "update_rule", "lr_decay", "optim_config", "batch_size", "num_train_samples", "num_val_samples",
            "epoch", "loss_history", "train_acc_history", "val_acc_history",
        )  # fmt: skip
        filename = f"{self.checkpoint_name}_epoch_{self.epoch}.pkl"
        if self.verbose:
            print(f'Saving checkpoint to "{filename}"')
        write_atomically(filename, pickle.dumps({name: getattr(self, name) for name in names}))

    def check_accuracy(self, X: Array, y: Array, num_samples: int | None = None, batch_size: int = 100) -> float:
        """The share of rows, or of a sample of them, that the model classifies right.

        Args:
            X: inputs.
            y: labels.
            num_samples: measure on so many rows, drawn with replacement, if there are more.
            batch_size: rows at once, for a model that is not compiled.
        """
        sampled = num_samples is not None and len(X) > num_samples
        rows = np.random.choice(len(X), num_samples) if sampled else np.arange(len(X))
        return float(np.mean(self._classes(X, rows, batch_size) == np.asarray(y)[rows]))

    def _classes(self, X: Array, rows: Array, batch_size: int) -> Array:
        """The classes that the model gives some rows of `X`."""
        if self._compiled is not None and self._compiled.rows.has(X):
            return self._compiled.classes(X, rows)
        size = 10 * batch_size if is_compiled(self.model) else batch_size
        scores = [self.model.loss(X[rows[start : start + size]]) for start in range(0, len(rows), size)]
        return np.argmax(np.concatenate(scores), axis=1)

    def train(self) -> None:
        """Run the whole training; at its end the model has the best parameters by validation accuracy."""
        per_epoch = max(len(self.X_train) // self.batch_size, 1)
        iterations = self.num_epochs * per_epoch
        ranges = list(self._ranges(iterations, per_epoch))
        if is_compiled(self.model):
            self._compiled = self._compile(longest=max(map(len, ranges), default=0))
        try:
            for stretch in ranges:
                self._run(len(stretch))
                t = stretch[-1]
                if self.verbose and t % self.print_every == 0:
                    print(f"(Iteration {t + 1} / {iterations}) loss: {self.loss_history[-1]:f}")
                epoch_end = (t + 1) % per_epoch == 0
                if epoch_end:
                    self.epoch += 1
                    for config in self.optim_configs.values():
                        config["learning_rate"] *= self.lr_decay
                if t == 0 or t == iterations - 1 or epoch_end:
                    if self._is_watched():
                        self._write_back()
                    self._check()
        finally:
            self._write_back()
            self._compiled = None
        self.model.params = self.best_params

    def _compile(self, longest: int) -> Stretches:
        rows = Rows(self.model, self.X_train, self.X_val)
        rule = self.update_rule.__name__
        return Stretches(self.model, rule, self.optim_configs, rows, self.y_train, self.batch_size, longest)

    def _run(self, iterations: int) -> None:
        """Take so many steps."""
        if self._compiled is not None:
            self.loss_history += self._compiled.run(iterations)
            return
        for _ in range(iterations):
            self._step()

    def _write_back(self) -> None:
        """Bring parameters and configurations up to date, where a compiled training keeps them on the device."""
        if self._compiled is not None:
            self._compiled.write_back()

    def _is_watched(self) -> bool:
        """Whether a check may look at the model: in a subclass's own methods, or in a checkpoint."""
        return type(self) is not Solver or self.checkpoint_name is not None

    def _check(self) -> None:
        """Measure both accuracies, print them, and keep the best parameters."""
        train_acc = self.check_accuracy(self.X_train, self.y_train, num_samples=self.num_train_samples)
        val_acc = self.check_accuracy(self.X_val, self.y_val, num_samples=self.num_val_samples)
        self.train_acc_history.append(train_acc)
        self.val_acc_history.append(val_acc)
        self._save_checkpoint()
        if self.verbose:
            print(f"(Epoch {self.epoch} / {self.num_epochs}) train acc: {train_acc:f}; val_acc: {val_acc:f}")
        if val_acc > self.best_val_acc:
            self.best_val_acc = val_acc
            self.best_params = self._params()

    def _params(self) -> dict[str, Array]:
        """A copy of the parameters."""
        if self._compiled is not None:
            return self._compiled.params()
        return {name: w.copy() for name, w in self.model.params.items()}

    def _ranges(self, iterations: int, per_epoch: int) -> Iterator[range]:
        """Cut the iterations after each one that is followed by a print or a check."""
        start = 0
        for t in range(iterations):
            followed = (self.verbose and t % self.print_every == 0) or (t + 1) % per_epoch == 0
            if followed or t in (0, iterations - 1):
                yield range(start, t + 1)
                start = t + 1
