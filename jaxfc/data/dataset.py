"""A data set as arrays: its splits, the kind of its targets, the weights of its examples."""

import hashlib
import numbers
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxfc.data.arrays import Array, Indices, Rows, as_stored, as_targets, as_weights
from jaxfc.data.checks import TARGETS, check_examples
from jaxfc.data.columns import Columns
from jaxfc.data.file_rows import FileRows, blocks
from jaxfc.data.normalizer import Encoding, Normalizer
from jaxfc.data.pooled import Pooled, pooled
from jaxfc.errors import check_number, unknown_name

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Dataset:
    """A data set, split and ready to train on.

    Args:
        name: what it is called in messages, and what `load` takes to load it again.
        x_train: training inputs, `(rows, features)`: uint8, float32 or float64. Bool becomes uint8; other
            integers and float16 become float32 where it holds them exactly, else float64. Inputs of any split may
            be `jaxfc.data.FileRows`, which stay in their file.
        y_train: their targets, of the kind that `targets` says.
        x_val: validation inputs.
        y_val: their targets.
        x_test: test inputs, or None.
        y_test: their targets, or None.
        classes: the classes' names; `classes[i]` is what label `i` stands for. `()` where targets are numbers.
        normalizer: the map from stored to network inputs, a `Normalizer` or another `Encoding`, fitted on the
            training rows alone. Where it takes missing values, inputs may be NaN.
        image_shape: `(height, width)` or `(channels, height, width)` where rows are images.
        feature_names: the columns' names where the rows come from a table.
        targets: `"classes"`: class indices in `[0, len(classes))`, `(rows,)`, stored as int32, or soft targets,
            `(rows, len(classes))` floats that sum to 1 in each row, stored as float32. `"labels"`: several labels
            to a row, `(rows, len(classes))` of 0 and 1, stored as uint8. `"numbers"`: numbers, `(rows,)` or
            `(rows, outputs)`, stored as inputs are, except uint8 as float32.
        target_names: the names of the numbers to predict, an output each.
        w_train: the training examples' weights, `(rows,)` of at least 0, stored as float32; None where all weigh
            the same.
        w_val: the validation examples' weights, or None.
        w_test: the test examples' weights, or None.
        fit_normalizer: fits the normalizer to other rows, for `take`; without it `take` keeps the normalizer.
        columns: what made the inputs of a table's columns, where they are codes that an `Encoder` takes.

    Raises:
        ValueError: empty or non-finite inputs, shapes that do not fit one another, targets out of range or
            non-finite, a number to predict that is always the same, weights that are negative, not finite or all 0.
            The message names the split, the value and the remedy.
        TypeError: targets of another type than their kind has.

    >>> from jaxfc.data import load
    >>> data = load("digits")
    >>> data.x_train.shape, data.x_train.dtype.name, len(data.classes)
    ((1297, 64), 'uint8', 10)
    """

    name: str
    x_train: Array
    y_train: np.ndarray
    x_val: Array
    y_val: np.ndarray
    x_test: Array | None
    y_test: np.ndarray | None
    classes: tuple[str, ...]
    normalizer: Encoding
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    targets: str = "classes"
    target_names: tuple[str, ...] | None = None
    w_train: np.ndarray | None = None
    w_val: np.ndarray | None = None
    w_test: np.ndarray | None = None
    fit_normalizer: Callable[[Rows], Encoding] | None = None
    columns: Columns | None = None

    def __post_init__(self) -> None:
        if self.targets not in TARGETS:
            raise unknown_name("targets", self.targets, TARGETS)
        for split in SPLITS:
            self._store(split)
        self._check_names()
        if self.targets == "numbers":
            self._check_variation()

    def _store(self, split: str) -> None:
        """Check a split's arrays, and put them into the types they are stored in."""
        x, y, w = (getattr(self, f"{part}_{split}") for part in "xyw")
        if split == "test" and x is None:
            if w is not None:
                raise ValueError(f"{self.name}: w_test is given without x_test: give both, or neither")
            return
        what, features = f"{self.name}: {split}", None if split == "train" else self.num_features
        check_examples(x, y, self.num_outputs, what=what, features=features, **self._kinds())
        stored = {
            "x": as_stored(x, what=f"{what}: x"),
            "y": None if y is None else as_targets(y, self.targets),
            "w": None if w is None else as_weights(w, len(x), what=f"{self.name}: w_{split}"),
        }
        for part, array in stored.items():
            object.__setattr__(self, f"{part}_{split}", array)

    def _kinds(self) -> dict[str, Any]:
        return {"targets": self.targets, "missing": self.normalizer.takes_missing}

    def _check_names(self) -> None:
        if self.targets == "numbers" and self.classes:
            raise ValueError(
                f"{self.name}: classes={self.classes} where targets are numbers: name them by target_names"
            )
        if self.target_names is not None and len(self.target_names) != self.num_outputs:
            raise ValueError(
                f"{self.name}: target_names={self.target_names} names {len(self.target_names)} numbers "
                f"where a row has {self.num_outputs}: name each, or leave target_names out"
            )

    def _check_variation(self) -> None:
        y = self.y_train.reshape(len(self.y_train), -1)
        constant = np.flatnonzero((y == y[0]).all(axis=0))
        if len(constant):
            column = constant[0]
            name = f" ({self.target_names[column]!r})" if self.target_names else ""
            raise ValueError(
                f"{self.name}: train: target {column}{name} is {y[0, column]} in every row: "
                "there is nothing to learn; leave it out, or add rows in which it differs"
            )

    @property
    def num_features(self) -> int:
        """The number of input features, a row's length."""
        return self.x_train.shape[1]

    @property
    def num_inputs(self) -> int:
        """The number of a network's inputs, which the normalizer makes of a row."""
        return self.normalizer.num_inputs

    @property
    def num_outputs(self) -> int:
        """The number of classes, of labels, or of numbers to predict."""
        if self.targets == "numbers":
            return self.y_train.shape[1] if self.y_train.ndim > 1 else 1
        return len(self.classes)

    def split(self, name: str) -> tuple[Array, np.ndarray]:
        """Return `(x, y)` of the split `"train"`, `"val"` or `"test"`.

        Raises:
            ValueError: another name, or `"test"` where the data set has no test rows.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        x, y = getattr(self, f"x_{name}"), getattr(self, f"y_{name}")
        if x is None:
            raise ValueError(
                f"data set {self.name!r} has no {name} rows: use split 'val', or add x_{name} and y_{name}"
            )
        return x, y

    def weights(self, name: str) -> np.ndarray | None:
        """Return the weights of a split's examples, `(rows,)`, or None where all weigh the same.

        Raises:
            ValueError: as `split`.
        """
        self.split(name)
        return getattr(self, f"w_{name}")

    def subset(self, num_train: int) -> "Dataset":
        """Keep the first `num_train` training rows; validation, test and normalizer stay.

        Raises:
            ValueError: `num_train` is not in `[1, len(x_train)]`.
        """
        if not 1 <= num_train <= len(self.x_train):
            raise ValueError(
                f"num_train={num_train} must be from 1 to the {len(self.x_train)} training rows of {self.name!r}"
            )
        w = None if self.w_train is None else self.w_train[:num_train]
        return replace(self, x_train=self.x_train[:num_train], y_train=self.y_train[:num_train], w_train=w)

    def take(self, rows: Indices, held: Indices) -> "Dataset":
        """Train on some of the training rows and validate on others, as a fold of a cross-validation does.

        Weights go with their rows. The normalizer is fitted to `rows` alone where `fit_normalizer` is there to
        do it; test rows stay.

        Args:
            rows: the indices of the training rows to train on.
            held: the indices of the training rows to validate on.

        >>> from jaxfc.data import load
        >>> fold = load("digits").take(np.arange(1000), np.arange(1000, 1297))
        >>> len(fold.x_train), len(fold.x_val)
        (1000, 297)
        """
        x, y, w = self.x_train, self.y_train, self.w_train
        x_train = x[rows]
        return replace(
            self,
            x_train=x_train,
            y_train=y[rows],
            w_train=None if w is None else w[rows],
            x_val=x[held],
            y_val=y[held],
            w_val=None if w is None else w[held],
            normalizer=self.normalizer if self.fit_normalizer is None else self.fit_normalizer(x_train),
        )

    def pooled(self, side: int) -> "Dataset":
        """Let networks take means over squares of so many pixels a side, in place of images; see `jaxfc.data.Pooled`.

        The rows stay as they are. A side of 1 changes nothing.

        Raises:
            ValueError: the rows are no images, or are pooled already; the squares do not fill them.
            TypeError: `side` is no whole number.

        >>> from jaxfc.data import load
        >>> data = load("digits").pooled(2)
        >>> data.num_features, data.num_inputs
        (64, 16)
        """
        check_number("pool", side, low=1)
        if not isinstance(side, numbers.Integral):
            raise TypeError(f"pool={side!r} must be a whole number")
        if side == 1:
            return self
        if self.image_shape is None:
            raise ValueError(f"pool={side} needs images, and the rows of {self.name!r} are none: leave it out")
        if not isinstance(self.normalizer, Normalizer):
            raise ValueError(
                f"pool={side}: the inputs of {self.name!r} are of a {type(self.normalizer).__name__} already"
            )
        shape, fit = self.image_shape, self.fit_normalizer
        return replace(
            self,
            normalizer=pooled(self.normalizer, shape, side),
            fit_normalizer=None if fit is None else lambda x: pooled(fit(x), shape, side),
        )

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that differ where anything differs that a training depends on.

        That is types, shapes and bytes of the training and validation arrays and of the normalizer, the kind of
        targets, and the names of classes. Computed once, so do not change the arrays afterwards.

        >>> from jaxfc.data import load
        >>> data = load("digits")
        >>> data.fingerprint() == load("digits").fingerprint() != data.subset(1000).fingerprint()
        True
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        import jax

        digest = hashlib.sha256(repr((self.targets, self.classes)).encode())
        if self.columns is not None:
            digest.update(repr(self.columns).encode())
        if isinstance(self.normalizer, Pooled):
            digest.update(repr(self.normalizer.layout).encode())
        arrays = [getattr(self, f"{part}_{split}") for split in ("train", "val") for part in "xyw"]
        for array in (*arrays, *jax.tree.leaves(self.normalizer)):
            if array is None:
                digest.update(b"none")
                continue
            array = array if isinstance(array, FileRows) else np.asarray(array)
            digest.update(repr((array.dtype.str, array.shape)).encode())
            # Bytes in a row are hashed where they lie: CIFAR-10 takes 150 MB.
            for block in blocks(array if array.ndim else array[None]):
                digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8))
        return digest.hexdigest()[:16]
