r"""Metrics: how good predictions are, as pure functions `(p, y, weights=None) -> scalar`.

They work on arrays of NumPy and of JAX, on the host, in compiled programs and under `jax.vmap`. `p` is the
decoded prediction: probabilities of classes or labels, or numbers in the targets' units. `weights`, one for
each example, count an example as so many rows; a row of weight zero counts nothing, whatever it holds.
Sums run in at least float32. Where nothing is left to measure (all weights zero, say) a metric is NaN.

Every one equals scikit-learn's of the same name (with `sample_weight`), but where its docstring says otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer, Real, Shaped

from jaxfc.calibration import expected_calibration_error
from jaxfc.layers.common import wider

Predictions = Float[Array | np.ndarray, "rows outputs"]
Targets = Shaped[Array | np.ndarray, "rows *outputs"]
Weights = Real[Array | np.ndarray, " rows"] | None
Scalar = Float[Array, ""]


class Metric(NamedTuple):
    """A metric's name, its function, whether higher is better, and its title in pictures.

    >>> metric = CLASSIFICATION["auc"]
    >>> metric.title, metric.higher
    ('ROC AUC', True)
    """

    name: str
    function: Callable[..., Scalar]
    higher: bool
    title: str


# ---------------------------------------------------------------------------------------------------
# Classification: probabilities (rows, classes); y holds class indices (rows,), or a distribution over
# classes for each row, (rows, classes), whose most probable class is then the label
# ---------------------------------------------------------------------------------------------------


def accuracy(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The fraction of rows whose most probable class is the label.

    >>> print(accuracy(jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([0, 0])))
    0.5
    """
    p, w = _prepared(p, weights)
    return _mean((p.argmax(axis=1).astype(jnp.int32) == _labels(y)).astype(p.dtype), w)


def balanced_accuracy(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The mean, over the classes that are present, of the fraction of a class's rows predicted right.

    >>> print(balanced_accuracy(jnp.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]]), jnp.array([0, 0, 0])).round(4))
    0.6667
    """
    hits, true, _ = _counts(p, y, weights)
    return _mean_where(true > 0, hits, true)


def f1(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    r"""The mean over classes of $F_1 = 2 h / (t + q)$.

    Here $h$ are a class's hits, $t$ its rows and $q$ the rows predicted to be of it; classes with $t + q = 0$
    are left out.

    >>> print(f1(jnp.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8]]), jnp.array([0, 1, 1])).round(4))
    0.6667
    """
    hits, true, predicted = _counts(p, y, weights)
    return _mean_where(true + predicted > 0, 2 * hits, true + predicted)


def log_loss(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    r"""Cross-entropy, the mean of $-\sum_c t_c \log p_c$, of distributions $t$ as they are or of one-hot labels.

    Probabilities are clipped to $[\epsilon, 1 - \epsilon]$ with the precision $\epsilon$ of their type.

    >>> print(log_loss(jnp.array([[0.5, 0.5], [0.25, 0.75]]), jnp.array([0, 1])).round(4))
    0.4904
    """
    p, w = _prepared(p, weights)
    target = jnp.asarray(y, p.dtype) if y.ndim == 2 else _one_hot(y, p)
    return _mean(-(target * jnp.log(_clipped(p))).sum(axis=1), w)


def auc(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    r"""Area under the ROC curve: how probably a row of a class gets a higher probability of it than another row.

    Ties count half. Of two classes, that of the second one; of more, the mean over the classes that some
    rows have and some don't, each against the rest (scikit-learn's `multi_class="ovr"`, which wants all).

    >>> print(auc(jnp.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4]]), jnp.array([0, 0, 1])))
    0.5
    """
    p, w = _prepared(p, weights)
    positive = _one_hot(_labels(y), p)
    if p.shape[1] == 2:
        p, positive = p[:, 1:], positive[:, 1:]
    return _mean_auc(p, positive, w)


# ---------------------------------------------------------------------------------------------------
# Multilabel: probabilities (rows, labels); y of the same shape, 0 or 1
# ---------------------------------------------------------------------------------------------------


def multilabel_f1(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The mean over labels of F1, a label being predicted from 1/2 on; 0 for one neither there nor predicted.

    >>> print(multilabel_f1(jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([[1, 0], [1, 1]])).round(4))
    0.8333
    """
    p, w = _prepared(p, weights)
    hits, true, predicted = (_total(each, w) for each in (_on(p) & _on(y), _on(y), _on(p)))
    total = true + predicted
    return _known(w, jnp.where(total > 0, 2 * hits / jnp.where(total > 0, total, 1), 0).mean())


def multilabel_auc(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The mean area under the ROC curve, over the labels that some rows have and some don't; see `auc`.

    >>> print(multilabel_auc(jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([[1, 0], [0, 0]])))
    1.0
    """
    p, w = _prepared(p, weights)
    return _mean_auc(p, _on(y).astype(p.dtype), w)


def multilabel_log_loss(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    r"""The mean over labels of the binary cross-entropy, $-t \log p - (1 - t) \log (1 - p)$; clipped as in `log_loss`.

    >>> print(multilabel_log_loss(jnp.array([[0.5, 0.5]]), jnp.array([[0, 1]])).round(4))
    0.6931
    """
    p, w = _prepared(p, weights)
    t, clipped = jnp.asarray(y, p.dtype), _clipped(p)
    return _mean(-(t * jnp.log(clipped) + (1 - t) * jnp.log1p(-clipped)).mean(axis=1), w)


def exact_match(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The fraction of rows of which all labels are predicted right (scikit-learn's `accuracy_score`).

    >>> print(exact_match(jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([[1, 0], [1, 1]])))
    0.5
    """
    p, w = _prepared(p, weights)
    return _mean((_on(p) == _on(y)).all(axis=1).astype(p.dtype), w)


# ---------------------------------------------------------------------------------------------------
# Regression: numbers (rows, outputs); y (rows, outputs), or (rows,) of a single output
# ---------------------------------------------------------------------------------------------------


def r2(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    r"""The mean over outputs of $R^2 = 1 - \sum_i w_i (y_i - p_i)^2 / \sum_i w_i (y_i - \bar y)^2$.

    An output whose targets are all the same counts as 1 if predicted without any error, else as 0.

    >>> print(r2(jnp.array([[1.0], [2.0], [4.0]]), jnp.array([1.0, 2.0, 3.0])))
    0.5
    """
    residual, y, w = _residuals(p, y, weights)
    counted = (w > 0)[:, None]
    # By its range: the variance of equal numbers need not come out as zero.
    constant = jnp.where(counted, y, -jnp.inf).max(axis=0) <= jnp.where(counted, y, jnp.inf).min(axis=0)
    error, variance = _mean(residual**2, w), _mean((y - _mean(y, w)[None, :]) ** 2, w)
    return _known(
        w, jnp.where(constant, (error == 0).astype(error.dtype), 1 - error / jnp.where(constant, 1, variance)).mean()
    )


def rmse(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The root of the mean squared error over all rows and outputs.

    (scikit-learn's `root_mean_squared_error` takes the roots first, and then the mean over outputs.)

    >>> print(rmse(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 4.0])).round(4))
    1.4142
    """
    residual, _, w = _residuals(p, y, weights)
    return jnp.sqrt(_mean((residual**2).mean(axis=1), w))


def mae(p: Predictions, y: Targets, weights: Weights = None) -> Scalar:
    """The mean absolute error over all rows and outputs (`mean_absolute_error`).

    >>> print(mae(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 4.0])))
    1.0
    """
    residual, _, w = _residuals(p, y, weights)
    return _mean(jnp.abs(residual).mean(axis=1), w)


def pinball(p: Predictions, y: Targets, weights: Weights = None, quantiles: tuple[float, ...] = (0.5,)) -> Scalar:
    r"""The mean pinball loss, $\max(q r, (q - 1) r)$ with $r = y - p$, over rows, targets and quantiles $q$.

    Args:
        p: predicted quantiles, `(rows, targets * quantiles)`, all those of the first target first.
        y: targets, `(rows, targets)`, or `(rows,)` of a single one.
        weights: of examples.
        quantiles: the numbers $q$ in (0, 1).

    Raises:
        ValueError: the shapes don't fit.

    >>> print(pinball(jnp.array([[1.0, 3.0]]), jnp.array([2.0]), quantiles=(0.25, 0.75)))
    0.25
    """
    y = jnp.repeat(jnp.asarray(y).reshape(len(y), -1), len(quantiles), axis=1)
    residual, _, w = _residuals(p, y, weights)
    q = jnp.tile(jnp.array(quantiles, residual.dtype), residual.shape[1] // len(quantiles))[None, :]
    return _mean(jnp.maximum(q * residual, (q - 1) * residual).mean(axis=1), w)


def _table(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


CLASSIFICATION = _table(
    Metric("acc", accuracy, True, "accuracy"),
    Metric("balanced_acc", balanced_accuracy, True, "balanced accuracy"),
    Metric("log_loss", log_loss, False, "log loss"),
    Metric("f1", f1, True, "F1"),
    Metric("auc", auc, True, "ROC AUC"),
    Metric("ece", expected_calibration_error, False, "calibration error"),
)
MULTILABEL = _table(
    Metric("f1", multilabel_f1, True, "F1"),
    Metric("auc", multilabel_auc, True, "ROC AUC"),
    Metric("log_loss", multilabel_log_loss, False, "log loss"),
    Metric("exact_match", exact_match, True, "exact match"),
)
REGRESSION = _table(Metric("r2", r2, True, "R²"), Metric("rmse", rmse, False, "RMSE"), Metric("mae", mae, False, "MAE"))


# ---------------------------------------------------------------------------------------------------
# Counts by class, on the host
# ---------------------------------------------------------------------------------------------------


def confusion_matrix(
    y: Integer[np.ndarray, " rows"], predicted: Integer[np.ndarray, " rows"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Count the rows of each true class (first axis) by the class predicted (second axis).

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    # Labels may be of a type, int8 say, that the number of a cell doesn't fit.
    cells = y.astype(np.int64) * num_classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracies(confusion: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """The fraction of each class's rows predicted right; NaN for a class without rows.

    >>> class_accuracies(np.array([[1, 1], [0, 4]]))
    array([0.5, 1. ])
    """
    rows = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), rows, out=np.full(len(rows), np.nan), where=rows > 0)


def label_table(
    y: Integer[np.ndarray, "rows labels"], answers: Integer[np.ndarray, "rows labels"], labels: tuple[str, ...]
) -> str:
    """A table with a line for each label: how many rows have it, and the precision, recall and F1 of the answers.

    >>> print(label_table(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 1]]), ("cat", "dog")))
      label   rows  precision  recall      f1
        cat      2     1.0000  0.5000  0.6667
        dog      1     1.0000  1.0000  1.0000
    """
    width = max(7, *(len(name) + 2 for name in labels))
    lines = [f"{'label':>{width}} {'rows':>6} {'precision':>10} {'recall':>7} {'f1':>7}"]
    for name, truth, answer in zip(labels, y.T > 0, answers.T > 0, strict=True):
        hits, rows, answered = (int(each.sum()) for each in (truth & answer, truth, answer))
        shares = [hits / answered if answered else 0.0, hits / rows if rows else 0.0]
        shares.append(2 * hits / (rows + answered) if rows + answered else 0.0)
        cells = "".join(f"{share:>{size}.4f}" for share, size in zip(shares, (11, 8, 8), strict=True))
        lines.append(f"{name:>{width}} {rows:>6}{cells}")
    return "\n".join(lines)


def confusion_table(confusion: Int[np.ndarray, "classes classes"], classes: tuple[str, ...]) -> str:
    """A table with a line for each true class: its accuracy, its rows, and how they were predicted.

    >>> print(confusion_table(np.array([[1, 1], [0, 4]]), ("cat", "dog")))
        class  accuracy   rows  predicted as
                                  0   1
      0   cat    0.5000      2    1   1
      1   dog    1.0000      4    .   4
    """
    name_width = max(5, *map(len, classes))
    width = max(4, len(str(confusion.max())) + 1)
    # Columns are headed by numbers: names would not fit.
    head = f"{'class':>{name_width + 4}} {'accuracy':>9} {'rows':>6}  predicted as"
    numbers = " " * (name_width + 4 + 10 + 7 + 1) + "".join(f"{i:>{width}}" for i in range(len(classes)))
    lines = [head, numbers]
    for i, (name, accuracy, counts) in enumerate(zip(classes, class_accuracies(confusion), confusion, strict=True)):
        cells = "".join(f"{count or '.':>{width}}" for count in counts)
        lines.append(f"{i:>3} {name:>{name_width}} {accuracy:>9.4f} {counts.sum():>6} {cells}")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------
# What the metrics share
# ---------------------------------------------------------------------------------------------------


def _prepared(p: Predictions, weights: Weights) -> tuple[Array, Array]:
    """Predictions and weights, in the type to compute in."""
    p = jnp.asarray(p, wider(p.dtype))
    return p, jnp.ones(len(p), p.dtype) if weights is None else jnp.asarray(weights, p.dtype)


def _mean(values: Array, w: Array) -> Array:
    """The weighted mean over rows; what stands in a row of weight zero may be NaN."""
    each = w.reshape(-1, *[1] * (values.ndim - 1))
    return jnp.where(each > 0, each * values, 0).sum(axis=0) / w.sum()


def _total(values: Array, w: Array) -> Array:
    """The weighted sum over rows; no product of matrices, which accelerators round."""
    return (w[:, None] * values.astype(w.dtype)).sum(axis=0)


def _mean_where(present: Array, counts: Array, totals: Array) -> Scalar:
    """The mean of the fractions that are present; NaN where none is."""
    return jnp.where(present, counts / jnp.where(present, totals, 1), 0).sum() / present.sum(dtype=counts.dtype)


def _known(w: Array, value: Array) -> Scalar:
    """The value, or NaN where all weights are zero."""
    return jnp.where(w.sum() > 0, value, jnp.nan)


def _labels(y: Targets) -> Array:
    return (jnp.asarray(y).argmax(axis=1) if y.ndim == 2 else jnp.asarray(y)).astype(jnp.int32)


def _one_hot(labels: Targets, p: Array) -> Array:
    # In int32: a small type might not hold the number of classes.
    return jax.nn.one_hot(jnp.asarray(labels, jnp.int32), p.shape[1], dtype=p.dtype)


def _on(labels: Targets) -> Array:
    return jnp.asarray(labels, jnp.result_type(float)) >= 0.5


def _clipped(p: Array) -> Array:
    precision = jnp.finfo(p.dtype).eps
    return jnp.clip(p, precision, 1 - precision)


def _counts(p: Predictions, y: Targets, weights: Weights) -> tuple[Array, Array, Array]:
    """For each class the weight of its hits, of its rows, and of the rows predicted to be of it."""
    p, w = _prepared(p, weights)
    true, predicted = _one_hot(_labels(y), p), _one_hot(p.argmax(axis=1), p)
    return _total(true * predicted, w), _total(true, w), _total(predicted, w)


@jax.jit  # outside of a program, its many small operations would each be compiled
def _mean_auc(p: Array, positive: Array, w: Array) -> Scalar:
    """The mean area under the curve, over the columns that have one."""
    areas = jax.vmap(_area, in_axes=(1, 1, None))(p, positive, w)
    return _mean_where(~jnp.isnan(areas), areas, jnp.ones_like(areas))


def _area(score: Array, positive: Array, w: Array) -> Scalar:
    """The share of pairs of a positive and another row that are in order, by weight; NaN where there is no pair."""
    order = score.argsort()
    others = jnp.concatenate([jnp.zeros(1, w.dtype), jnp.cumsum((w * (1 - positive))[order])])
    lower, not_higher = (others[jnp.searchsorted(score[order], score, side=side)] for side in ("left", "right"))
    return _mean((lower + not_higher) / 2, w * positive) / others[-1]


def _residuals(p: Predictions, y: Targets, weights: Weights) -> tuple[Array, Array, Array]:
    """Residuals y - p and targets, `(rows, outputs)`, and weights."""
    p, w = _prepared(p, weights)
    y = jnp.asarray(y, p.dtype).reshape(len(p), -1)
    if y.shape != p.shape:
        raise ValueError(f"metric: predictions {p.shape}, targets {y.shape}; need one prediction for each target")
    return y - p, y, w
