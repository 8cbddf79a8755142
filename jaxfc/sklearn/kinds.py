"""What estimators predict: classes or labels, and numbers."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from jaxfc.sklearn.base import plain
from jaxfc.sklearn.rows import Rows


class Classes(ClassifierMixin):
    """An estimator that predicts a class for each row, or any number of labels.

    Beside those of all tables it has the parameters `label_smoothing` and `class_weight`.
    """

    def __sklearn_tags__(self) -> Any:
        """Tags: several labels to a row are welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    @property
    def _problem(self) -> str:
        return "classification" if self._kind == "classes" else "multilabel"

    def _settings(self) -> dict[str, Any]:
        smoothing = plain(self.label_smoothing) if self._kind == "classes" else None
        return super()._settings() | {"label_smoothing": smoothing}

    def _targets(self, y: Any, weights: np.ndarray, learn: bool) -> np.ndarray:
        y = _column(y)
        check_classification_targets(y)
        several = y.ndim == 2
        if several and type_of_target(y) != "multilabel-indicator":
            raise ValueError("y has several columns that are not 0 or 1: several classes to a row are not supported")
        if learn:
            self._learn(np.arange(y.shape[1]) if several else np.unique(y), "labels" if several else "classes")
        if several != (self._kind == "labels") or (several and y.shape[1] != len(self.classes_)):
            raise ValueError(f"y has shape {y.shape}: it must be of the {len(self.classes_)} {self._kind} of before")
        if several:
            return y.astype(np.uint8)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y has the class {plain(unknown[0])!r}, which is none of those of before, {self.classes_}"
            )
        codes = np.searchsorted(self.classes_, y).astype(np.int32)
        if learn and len(np.unique(codes[weights > 0])) < 2:
            raise ValueError(
                f"y has one class only, {plain(self.classes_[codes[weights > 0][0]])!r}, in rows of a weight above 0: "
                "a classifier needs at least 2 classes"
            )
        return codes

    def _learn(self, classes: np.ndarray, kind: str) -> None:
        """Set the classes, and what kind of targets they are."""
        self.classes_, self._kind = classes, kind
        if kind == "classes" and len(classes) < 2:
            raise ValueError(f"y has one class only, {plain(classes[0])!r}: a classifier needs at least 2 classes")

    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_.tolist()))

    def _weighed(self, rows: Rows) -> Rows:
        """Rows weighed by class."""
        if self.class_weight is None:
            return rows
        if self._kind == "labels":
            raise ValueError("class_weight is for one class in each row, and y has several labels: leave it out")
        if isinstance(self.class_weight, str):
            if self.class_weight != "balanced":
                raise ValueError(f"class_weight={self.class_weight!r} must be 'balanced', or weights by class")
            totals = np.bincount(rows.y, weights=rows.weights, minlength=len(self.classes_))
            by_class = totals.sum() / np.where(totals > 0, totals, 1)
        else:
            by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_[rows.y])
        return rows._replace(weights=rows.weights * by_class[rows.y])

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row; of labels, 1 where one has a probability of at least a half.

        Args:
            X: the rows.
        """
        p = self._prediction(X)
        return (p >= 0.5).astype(int) if self._kind == "labels" else self.classes_[p.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of classes, or of labels, `(rows, classes)`.

        Args:
            X: the rows.
        """
        p = self._prediction(X)
        return p if self._kind == "labels" else p / p.sum(axis=1, keepdims=True)


class Numbers(RegressorMixin, MultiOutputMixin):
    """An estimator that predicts one or several numbers for each row.

    Beside those of all tables it has the parameters `loss` and `quantiles`.
    """

    _problem, _kind, _numeric = "regression", "numbers", True

    def _settings(self) -> dict[str, Any]:
        quantiles = None if self.quantiles is None else tuple(map(float, self.quantiles))
        loss = "quantile" if quantiles and self.loss == "squared" else self.loss
        return super()._settings() | {"loss": loss, "quantiles": quantiles}

    def _targets(self, y: Any, weights: np.ndarray, learn: bool) -> np.ndarray:
        y = np.asarray(_column(y), np.float64)
        if learn:
            self._outputs = y.shape[1:]
        elif y.shape[1:] != self._outputs:
            raise ValueError(f"y has shape {y.shape}: it must have the {self._outputs or (1,)} columns of before")
        return y

    def _names(self) -> tuple[str, ...]:
        return ()

    def predict(self, X: Any) -> np.ndarray:
        """The numbers, `(rows,)` or `(rows, outputs)`; where quantiles are predicted, that nearest the median.

        Args:
            X: the rows.
        """
        if self.quantiles is None:
            return self._prediction(X).reshape(-1, *self._outputs)
        middle = int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5)))
        return self.predict_quantiles(X)[..., middle]

    def predict_quantiles(self, X: Any) -> np.ndarray:
        """The quantiles, `(rows, quantiles)` or `(rows, outputs, quantiles)`, in the order of the parameter.

        Args:
            X: the rows.

        Raises:
            ValueError: there is no parameter `quantiles`.
        """
        if self.quantiles is None:
            raise ValueError("predict_quantiles: give quantiles, such as (0.1, 0.5, 0.9), before fitting")
        # Of each output its quantiles, in increasing order whatever the network says.
        found = self._prediction(X).reshape(-1, *self._outputs, len(self.quantiles))
        order = np.argsort(np.argsort(self.quantiles))
        return np.sort(found, axis=-1)[..., order]


def _column(y: Any) -> np.ndarray:
    """Targets, those of one column in one dimension, of which scikit-learn warns."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
