"""What all estimators share: reading rows, training by `jaxfc.training`, and predicting."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from jaxfc.data import Encoder
from jaxfc.data.dataset import Dataset
from jaxfc.errors import check_number
from jaxfc.objective import ROWS
from jaxfc.sklearn.callbacks import CallbackSupportMixin, with_callbacks
from jaxfc.sklearn.columns import columns_of, is_plain
from jaxfc.sklearn.rows import Rows, dataset, joined, parted
from jaxfc.training.config import TrainConfig
from jaxfc.training.recipes import noise_of, table_defaults

FLOATS = (np.float32, np.float64)
FEW_PREDICTED = 256  # rows that are predicted by a program of this length; others by one of `ROWS`


class Table(CallbackSupportMixin, BaseEstimator):
    """An estimator on the rows of a table.

    What it is for (classes or numbers) and how it trains (one network or a population) are its subclasses':

    - `_targets(y, weights, learn)` makes of checked targets what a data set has, and sets what is to be learned of
      them; `_kind` then says which targets they are, as in `jaxfc.Dataset`, and `_names()` names classes.
    - `_problem` is the task, as in `jaxfc.TrainConfig`, and `_settings()` has what else of it the parameters say.
    - `_train(data, config, how)` trains, and sets `model_`.
    """

    _problem: str
    _numeric = False

    def __sklearn_tags__(self) -> Any:
        """Tags: what scikit-learn may expect."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags

    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "Table":
        """Train.

        Args:
            X: the rows: an array of numbers, or a frame of columns as they are (see `columns`); values may be missing.
            y: their targets.
            sample_weight: the rows' weights; a weight of 2 is the row given twice, one of 0 the row left out.
            X_val: rows to validate on, in place of some that are held out.
            y_val: their targets.
            sample_weight_val: their weights.

        Returns:
            The estimator.

        Raises:
            ValueError: rows, targets or weights that there is nothing to learn from, or a parameter out of range; the
                message names it.
        """
        rows = self._read(X, y, sample_weight, first=True)
        val = self._validation(X_val, y_val, sample_weight_val)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows, val = self._held_out(joined(self._weighed(rows)), val, seed)
        data = self._data(rows, val)
        self._train(data, self._config(data, seed), val is not None, {"X": X, "y": y})
        return self

    # Of rows, before a training

    def _read(self, X: Any, y: Any, sample_weight: Any, *, first: bool, learn: bool | None = None) -> Rows:
        """Checked rows; the first ones say what columns there are, and by default what targets."""
        y = validate_data(self, y=y, multi_output=True, y_numeric=self._numeric)
        codes = self._codes(X, first)
        y = y.toarray() if hasattr(y, "toarray") else y
        check_consistent_length(codes, y)
        weights = _weights(sample_weight, len(codes))
        return Rows(codes, self._targets(y, weights, first if learn is None else learn), weights)

    def _codes(self, X: Any, first: bool) -> np.ndarray:
        """The numbers that stand for rows; the first ones say what columns there are."""
        if first:
            self._plain = is_plain(X)
        if self._plain:
            how = {"dtype": FLOATS, "ensure_all_finite": "allow-nan", "ensure_min_samples": 2 if first else 1}
            X = validate_data(self, X, reset=first, **how)
        else:
            validate_data(self, X, skip_check_array=True, reset=first)
            if first and len(X) < 2:
                raise ValueError("X has 1 sample, n_samples=1: at least 2 rows are needed")
        if first:
            names = getattr(self, "feature_names_in_", None) if self._plain else None
            self._columns = columns_of(X, names, self.columns)
        return self._columns.codes(X)

    def _validation(self, X: Any, y: Any, sample_weight: Any) -> Rows | None:
        if X is None and y is None and sample_weight is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val: give both, or neither")
        return self._read(X, y, sample_weight, first=False)

    def _weighed(self, rows: Rows) -> Rows:
        """Rows with whatever else weighs them."""
        return rows

    def _held_out(self, rows: Rows, val: Rows | None, seed: int) -> tuple[Rows, Rows | None]:
        """Rows to train on, and rows to validate on, if there are any."""
        if val is None and self._needs_validation():
            check_number("validation_fraction", self.validation_fraction, low=0, high=1, exclude="high")
            return parted(rows, self.validation_fraction, seed, stratify=self._kind == "classes")
        return rows, val

    def _needs_validation(self) -> bool:
        raise NotImplementedError

    def _data(self, rows: Rows, val: Rows | None, encoder: Encoder | None = None, room: int = 0) -> Dataset:
        return dataset(rows, val, self._columns, encoder, self._kind, self._names(), room)

    # Training

    def _config(self, data: Dataset, seed: int) -> TrainConfig:
        """The whole configuration: the parameters given, and for the others what suits the table."""
        given = {name: value for name, value in self._settings().items() if value is not None}
        if "hidden" in given:
            given["hidden"] = tuple(np.atleast_1d(given["hidden"]).tolist())
        size = len(data.x_train)
        noise = noise_of(data) if self._kind == "numbers" and "weight_decay" not in given else 1.0
        suits = table_defaults(size, data.num_features, self._problem, noise)
        values = suits | given | {"task": self._problem, "sampling": "continuous", "seed": seed}
        batch_size = values["batch_size"]
        values["batch_size"] = min(batch_size, size) if isinstance(batch_size, int) else batch_size
        return TrainConfig(**values)

    def _settings(self) -> dict[str, Any]:
        """The parameters by the names of `jaxfc.TrainConfig`; None for what suits the table."""
        names = ("hidden", "activation", "epochs", "batch_size", "learning_rate", "weight_decay", "dropout_keep_ratio")
        names += ("numbers", "categories")
        return {name: plain(getattr(self, name)) for name in names if hasattr(self, name)}

    def _train(self, data: Dataset, config: TrainConfig, validated: bool, told: dict[str, Any]) -> None:
        raise NotImplementedError

    # Afterwards

    def _prediction(self, X: Any) -> np.ndarray:
        """The task's predictions for rows, by a program of one of two lengths."""
        check_is_fitted(self)
        codes = self._codes(X, first=False)
        length = FEW_PREDICTED if len(codes) <= FEW_PREDICTED else -(-len(codes) // ROWS) * ROWS
        padded = np.pad(codes, ((0, length - len(codes)), (0, 0)))
        return self.model_.prediction(padded)[: len(codes)].astype(np.float64)


def _weights(sample_weight: Any, num_rows: int) -> np.ndarray:
    """Weights as checked numbers; 1 for each row by default."""
    if sample_weight is None:
        return np.ones(num_rows)
    w = np.asarray(sample_weight, np.float64)
    w = np.full(num_rows, w) if w.ndim == 0 else w
    if w.shape != (num_rows,):
        raise ValueError(f"sample_weight has shape {w.shape}: it must be ({num_rows},), a weight for each row")
    wrong = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(wrong):
        raise ValueError(f"sample_weight[{wrong[0]}] is {w[wrong[0]]}: weights must be finite and at least 0")
    if not w.any():
        raise ValueError("sample_weight: all weights are zero: give at least one row a weight above 0")
    return w


def plain(value: Any) -> Any:
    """NumPy's numbers, which grids of parameters hold, as Python's.

    >>> plain(np.int64(3))
    3
    """
    return value.item() if isinstance(value, np.generic) else value
