r"""Probabilities and intervals that one can use, from rows that were held out.

Temperature scaling (Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks*, 2017), the
calibration error that it lowers, thresholds for rare classes, and split conformal intervals (Lei, G'Sell, Rinaldo,
Tibshirani and Wasserman, *Distribution-Free Predictive Inference for Regression*, 2018; Romano, Patterson and
Candès, *Conformalized Quantile Regression*, 2019). Functions on NumPy arrays, in float64; what uses them on models is
`jaxfc.Model.calibrated`, `with_threshold` and `conformal`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Real, Shaped

from jaxfc.errors import unknown_name
from jaxfc.layers.common import wider

BINS = 15  # of equal width, as in Guo et al.
COLDEST, HOTTEST = 0.02, 50.0  # the temperatures that are looked at
GOLDEN = (math.sqrt(5) - 1) / 2
THRESHOLD_METRICS = ("f1", "balanced_acc")


def expected_calibration_error(
    p: Float[Array | np.ndarray, "rows classes"],
    y: Shaped[Array | np.ndarray, "rows *classes"],
    weights: Real[Array | np.ndarray, " rows"] | None = None,
) -> Float[Array, ""]:
    r"""How far confidence is from accuracy, $\sum_b \frac{|B_b|}{n} |\mathrm{acc}(B_b) - \mathrm{conf}(B_b)|$.

    $B_b$ are the rows whose confidence, the probability of the most probable class, lies in the $b$-th of 15 equal
    parts of (0, 1]; Guo et al. 2017, equation 3. A metric as those in `jaxfc.metrics`: it may be compiled.

    Args:
        p: probabilities.
        y: class indices, or a distribution over classes for each row, whose most probable class is then the label.
        weights: of examples.

    >>> print(expected_calibration_error(jnp.array([[0.9, 0.1], [0.2, 0.8]]), jnp.array([0, 0])).round(4))
    0.45
    """
    p = jnp.asarray(p, wider(p.dtype))
    w = jnp.ones(p.shape[0], p.dtype) if weights is None else jnp.asarray(weights, p.dtype)
    labels = (jnp.asarray(y).argmax(axis=1) if y.ndim == 2 else jnp.asarray(y)).astype(jnp.int32)
    confidence = p.max(axis=1)
    right = (p.argmax(axis=1).astype(jnp.int32) == labels).astype(p.dtype)
    # A row of weight zero counts nothing, whatever it holds.
    gap = jnp.where(w > 0, w * (right - confidence), 0)
    bins = jnp.clip(jnp.ceil(confidence * BINS).astype(jnp.int32) - 1, 0, BINS - 1)
    sums = jnp.where(bins[:, None] == jnp.arange(BINS, dtype=jnp.int32)[None, :], gap[:, None], 0).sum(axis=0)
    return jnp.abs(sums).sum() / w.sum()


def reliability(
    confidence: Float[np.ndarray, " rows"], right: Shaped[np.ndarray, " rows"], weights: Any = None
) -> Float[np.ndarray, "bins 3"]:
    """For each of 15 bins of confidence its mean, the share of rows that are right, and its share of all rows.

    Args:
        confidence: the probability of what was answered, or of a label.
        right: whether it was right, or the label there; 0 or 1.
        weights: of examples.

    Bins without rows hold NaN, NaN and 0.

    >>> reliability(np.array([0.55, 0.65, 0.95]), np.array([0, 1, 1]))[[8, 9, 14]].round(2).tolist()
    [[0.55, 0.0, 0.33], [0.65, 1.0, 0.33], [0.95, 1.0, 0.33]]
    """
    w = np.ones(len(confidence)) if weights is None else np.asarray(weights, np.float64)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    total = np.bincount(bins, w, BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [np.bincount(bins, w * np.asarray(each, np.float64), BINS) / total for each in (confidence, right)]
    return np.stack([*means, total / max(w.sum(), np.finfo(float).tiny)], axis=1)


def temperature(loss: Callable[[float], float]) -> float:
    r"""The temperature $T$ with the least loss, never worse than $T = 1$.

    Args:
        loss: the mean log loss of probabilities made of outputs divided by $T$, as a function of $T$.

    The loss is convex in $1/T$ for one network (it is the cross-entropy of a linear model with one weight); of an
    ensemble's mean it need not be. So a coarse grid of $\log T$ in [0.02, 50] is looked at first, and the best
    place of it narrowed down by golden section, to seven digits.

    >>> round(temperature(lambda T: (1 / T - 0.5) ** 2), 5)
    2.0
    """
    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), 25)
    losses = [loss(math.exp(each)) for each in grid]
    best = int(np.argmin(losses))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)]
    found = [loss(math.exp(each)) for each in inner]
    while high - low > 1e-7:
        if found[0] <= found[1]:
            high, inner, found = inner[1], [inner[1] - GOLDEN * (inner[1] - low), inner[0]], [math.nan, found[0]]
            found[0] = loss(math.exp(inner[0]))
        else:
            low, inner, found = inner[0], [inner[1], inner[0] + GOLDEN * (high - inner[0])], [found[1], math.nan]
            found[1] = loss(math.exp(inner[1]))
    made = math.exp((low + high) / 2)
    return made if loss(made) < loss(1.0) else 1.0


def threshold(
    p: Float[np.ndarray, " rows"],
    y: Integer[np.ndarray, " rows"] | Float[np.ndarray, " rows"],
    metric: str = "f1",
    weights: Any = None,
) -> float:
    r"""The probability from which on to answer yes, that is best by a metric on these rows.

    `"f1"` is $2h / (t + q)$ with hits $h$, rows $t$ that are positive and rows $q$ answered so; `"balanced_acc"` the
    mean of the shares of positive and of other rows answered right. Every cut between two probabilities is tried; of
    equals that nearest to one half is taken, and it lies midway between the two.

    Args:
        p: the probability of the positive class, or of a label.
        y: 0 or 1.
        metric: which.
        weights: of examples.

    Raises:
        ValueError: an unknown metric; rows of one kind only.

    >>> threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1]))
    0.25
    """
    if metric not in THRESHOLD_METRICS:
        raise unknown_name("metric of a threshold", metric, THRESHOLD_METRICS)
    p, positive = np.asarray(p, np.float64), np.asarray(y) > 0.5
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    total, others = w[positive].sum(), w[~positive].sum()
    if not total or not others:
        raise ValueError(f"a threshold needs rows of both kinds; all {len(p)} are {int(bool(total))}: give more rows")
    order = np.argsort(-p, kind="stable")
    ranked = p[order]
    # Cut i answers yes to the first i rows; none between equal probabilities.
    hits, false = (
        np.concatenate([[0], np.cumsum(np.where(kind[order], w[order], 0))]) for kind in (positive, ~positive)
    )
    cuts = (np.concatenate([[1.0], ranked]) + np.concatenate([ranked, [0.0]])) / 2
    allowed = np.concatenate([[ranked[0] < 1], ranked[:-1] > ranked[1:], [True]])
    if metric == "f1":
        score = 2 * hits / np.maximum(total + hits + false, np.finfo(float).tiny)
    else:
        score = (hits / total + (others - false) / others) / 2
    score = np.where(allowed, score, -np.inf)
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]])


def residual_scores(
    p: Float[np.ndarray, "rows outputs"], y: Real[np.ndarray, "rows targets"], quantiles: tuple[float, ...] = ()
) -> Float[np.ndarray, "rows targets"]:
    r"""Conformity scores: $|y - p|$, or with two quantiles or more $\max(p_{low} - y, y - p_{high})$.

    Args:
        p: predictions, `(rows, targets)`, or `(rows, targets * quantiles)`.
        y: what was measured.
        quantiles: those predicted, the least and the greatest of which make the interval.

    >>> residual_scores(np.array([[1.0], [2.0]]), np.array([[1.5], [1.0]])).ravel().tolist()
    [0.5, 1.0]
    """
    low, high = ends_of(p, quantiles)
    return np.maximum(low - y, y - high)


def ends_of(
    p: Float[np.ndarray, "rows outputs"], quantiles: tuple[float, ...] = ()
) -> tuple[Float[np.ndarray, "rows targets"], Float[np.ndarray, "rows targets"]]:
    """The ends of the interval that predictions make before it is conformalized: the point itself, or quantiles.

    With one quantile it is the point. Quantiles that cross are put in order.

    >>> low, high = ends_of(np.array([[1.0, 2.0, 4.0]]), (0.1, 0.5, 0.9))
    >>> low.item(), high.item()
    (1.0, 4.0)
    """
    p = np.asarray(p, np.float64)
    if len(quantiles) < 2:
        return p, p
    each = p.reshape(len(p), -1, len(quantiles))
    a, b = each[..., int(np.argmin(quantiles))], each[..., int(np.argmax(quantiles))]
    return np.minimum(a, b), np.maximum(a, b)


def margin(scores: Float[np.ndarray, "rows targets"], coverage: float | int) -> Float[np.ndarray, " targets"]:
    r"""How far an interval reaches: the $\lceil (n + 1)\, c \rceil$-th smallest of $n$ scores, of each target.

    A new row, exchangeable with those, is then covered with probability of at least $c$, whatever the model and the
    distribution.

    Args:
        scores: as `residual_scores` makes them.
        coverage: $c$ in (0, 1).

    Raises:
        ValueError: a coverage out of range, or one that so few rows cannot promise.

    >>> margin(np.arange(1.0, 10.0)[:, None], 0.8)
    array([8.])
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage={coverage} must lie between 0 and 1")
    count = len(scores)
    place = math.ceil((count + 1) * coverage - 1e-9)
    if place > count:
        least = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(f"coverage={coverage} needs {least} held-out rows or more, and there are {count}")
    return np.sort(scores, axis=0)[place - 1]
