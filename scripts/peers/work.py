"""What is benchmarked: trainings, single ones and whole searches, and the arrays they train on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

BATCHNORM_MOMENTUM = 0.9  # the part of the running statistics kept at each step
BATCHNORM_EPS = 1e-5


@dataclass(frozen=True)
class Work:
    """A training. A round of it is `epochs` epochs of `iterations` steps each.

    Args:
        title: what the table calls it.
        dataset: `"cifar10"` or `"digits"`.
        hidden_dims: the hidden layers' widths; input and output follow from the data.
        rule: `"adam"` or `"sgd_momentum"` (momentum 0.9).
        learning_rate: its learning rate.
        batch_size: rows in a batch.
        epochs: epochs in a round.
        iterations: steps in an epoch; None for as many as the training rows fill.
        rows: use only the first so many training rows.
        batchnorm: put batchnorm before every ReLU.
        keep_ratio: the ratio of activations that dropout keeps; None for no dropout.
        reg: the strength of the L2 term `reg / 2 * sum(w ** 2)`, over weights only.
        weight_scale: the standard deviation of initial weights; None for `sqrt(2 / fan_in)`.
        whole_run: a round is a new run from new parameters, with the validation accuracy after each
            epoch, and its time is the run's. Otherwise rounds train on, and the time is that of a step.
        candidates: how many such runs, with learning rates of their own, a search consists of. Peers do one
            after another, and are timed on one; times are those of a candidate.
    """

    title: str
    dataset: str
    hidden_dims: tuple[int, ...]
    rule: str
    learning_rate: float
    batch_size: int
    epochs: int
    iterations: int | None = None
    rows: int | None = None
    batchnorm: bool = False
    keep_ratio: float | None = None
    reg: float = 0.0
    weight_scale: float | None = None
    whole_run: bool = False
    candidates: int = 1

    def plans(self, num_rows: int, number: int) -> np.ndarray:
        """Return the row indices `(epochs, iterations, batch)` of a round: each epoch in an order of its own."""
        iterations = self.iterations or num_rows // self.batch_size
        rng = np.random.default_rng(number)
        orders = [rng.permutation(num_rows)[: iterations * self.batch_size] for _ in range(self.epochs)]
        return np.stack(orders).reshape(self.epochs, iterations, self.batch_size).astype(np.int32)

    def scale_of(self, fan_in: int) -> float:
        """Return the standard deviation of the initial weights of a layer with so many inputs."""
        return (2 / fan_in) ** 0.5 if self.weight_scale is None else self.weight_scale

    def quick(self) -> "Work":
        """Return the same with as few steps as show that it works."""
        return (
            replace(self, epochs=1, iterations=3)
            if not self.whole_run
            else replace(self, epochs=2, candidates=min(self.candidates, 8))
        )


WORKS = {
    "a": Work(
        title="[2048, 1024], batchnorm, dropout, L2, Adam, batch 512",
        dataset="cifar10",
        hidden_dims=(2048, 1024),
        rule="adam",
        learning_rate=1.8e-3,
        batch_size=512,
        epochs=1,
        iterations=20,
        batchnorm=True,
        keep_ratio=0.47,
        reg=1.8e-4,
        weight_scale=0.0158,
    ),
    "b": Work(
        title="[100] x 5, SGD with momentum, batch 100",
        dataset="cifar10",
        hidden_dims=(100,) * 5,
        rule="sgd_momentum",
        learning_rate=5e-3,
        batch_size=100,
        epochs=5,
        rows=4000,
        weight_scale=5e-2,
    ),
    "c": Work(
        title="[64], Adam, batch 32, 20 epochs",
        dataset="digits",
        hidden_dims=(64,),
        rule="adam",
        learning_rate=1e-3,
        batch_size=32,
        epochs=20,
        whole_run=True,
    ),
    "d": Work(
        title="search: 256 candidates of [64], Adam, batch 32, 20 epochs",
        dataset="digits",
        hidden_dims=(64,),
        rule="adam",
        learning_rate=1e-3,
        batch_size=32,
        epochs=20,
        whole_run=True,
        candidates=256,
    ),
    "e": Work(
        title="search: 64 candidates of [100, 100], Adam, batch 100, 5 epochs",
        dataset="cifar10",
        hidden_dims=(100, 100),
        rule="adam",
        learning_rate=1e-3,
        batch_size=100,
        epochs=5,
        rows=4000,
        whole_run=True,
        candidates=64,
    ),
}


class Data(NamedTuple):
    """Training and validation rows as stored (uint8), and the map to network inputs, `(x - mean) * scale`."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @property
    def dims(self) -> tuple[int, int]:
        """The numbers of features and of classes."""
        return self.x.shape[1], int(self.y.max()) + 1

    def save(self, folder: Path) -> None:
        """Write the arrays into a folder, from which each worker reads its own."""
        for name, array in self._asdict().items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def read(cls, folder: Path) -> "Data":
        """Read what `save` wrote."""
        return cls(*(np.load(folder / f"{name}.npy") for name in cls._fields))


def stand_in(rows: int) -> Data:
    """Random images of CIFAR-10's shape, with a faint pattern for each class so that there is something to learn."""
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=rows + 1000, dtype=np.int32)
    patterns = rng.integers(64, size=(10, 3072), dtype=np.uint8)
    x = rng.integers(192, size=(len(y), 3072), dtype=np.uint8)
    x += patterns[y]
    mean = x[:rows].mean(axis=0, dtype=np.float64).astype(np.float32)
    return Data(x[:rows], y[:rows], x[rows:], y[rows:], mean, np.float32(1))
