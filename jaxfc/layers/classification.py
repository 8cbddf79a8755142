"""Losses of scores: for one class an example, and for several labels an example."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Integer, Real

from jaxfc.layers.common import Number, Scalar, Weights, check_weights, example_shares, wide_type
from jaxfc.layers.vjp import differentiable

Scores = Float[Array, "batch classes"]
SoftTargets = Float[Array, "batch classes"]
Labels = Integer[Array, " batch"]

_ROUNDING = 1e-2  # of targets that were computed, in bfloat16 perhaps


def softmax_loss_forward(
    scores: Scores, y: Labels | SoftTargets, weights: Weights | None = None, label_smoothing: Number = 0.0
) -> tuple[Scalar, tuple]:
    r"""Cross-entropy of the softmax of the scores $s$, averaged over the batch.

    $$p_{ic} = \frac{e^{s_{ic}}}{\sum_k e^{s_{ik}}}, \quad
      t_{ic} = (1 - \alpha) [c = y_i] + \tfrac{\alpha}{C}, \quad
      L = -\frac{1}{W} \sum_i w_i \sum_c t_{ic} \log p_{ic}, \quad W = \sum_i w_i .$$

    $\log p$ is $s$ less its log-sum-exp, taken after subtracting the row's maximum: it never overflows.
    Soft targets, a distribution $y_{ic}$ over the classes for each row, stand for $[c = y_i]$.

    Args:
        scores: the unnormalized log-probabilities (logits).
        y: the correct classes, integers in `[0, classes)`; or soft targets, floats `(batch, classes)`.
        weights: $w$, one for each example, 1 by default; an example of weight 0 has no influence.
        label_smoothing: $\alpha$ in [0, 1) (Szegedy et al., 2015).

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: labels that are not integers.
        ValueError: shapes that do not fit, or (outside of `jit`) a label out of range or soft targets that are no
            distribution.

    >>> scores, y = jnp.zeros((2, 10)), jnp.array([3, 7])
    >>> loss, cache = softmax_loss_forward(scores, y)
    >>> print(f"{loss:.4f} {softmax_loss(scores, y):.4f}")
    2.3026 2.3026
    """
    wide = wide_type(scores)
    shifted = scores.astype(wide) - lax.stop_gradient(jnp.max(scores, axis=1, keepdims=True)).astype(wide)
    log_p = shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=1, keepdims=True))
    targets = _targets(y, scores.shape[1], label_smoothing, wide)
    shares = example_shares(weights, len(scores), wide)
    loss = -jnp.sum(shares * jnp.sum(targets * log_p, axis=1))
    return loss, (log_p, y, shares, label_smoothing, scores)


def softmax_loss_backward(dout: Scalar, cache: tuple) -> Scores:
    r"""VJP of the softmax loss: probabilities less targets.

    For one example, $L = \log \sum_k e^{s_k} - \sum_c t_c s_c$ because $\sum_c t_c = 1$. The first
    term's derivative by $s_c$ is $p_c$, the second's is $t_c$; hence

    $$ds_{ic} = \frac{w_i}{W} (p_{ic} - t_{ic})\, dL .$$

    Soft targets may sum to 1 but roughly, after rounding: the logarithm then counts $\sum_c t_c$ times, and so does
    $p_{ic}$.

    >>> _, cache = softmax_loss_forward(jnp.zeros((1, 4)), jnp.array([1]))
    >>> print(np.asarray(softmax_loss_backward(jnp.ones(()), cache)).round(3))
    [[ 0.25 -0.75  0.25  0.25]]
    """
    log_p, y, shares, label_smoothing, scores = cache
    targets = _targets(y, log_p.shape[1], label_smoothing, log_p.dtype)
    p = jnp.exp(log_p)
    if _is_soft(y):
        p = p * jnp.sum(targets, axis=1, keepdims=True)
    return ((p - targets) * (shares * dout)[:, None]).astype(scores.dtype)


def by_class(class_weights: Any, y: Any, classes: int, weights: Weights | None = None) -> Weights:
    r"""Weights of examples, $w_i v_{y_i}$, from weights $v_c$ of their classes.

    Args:
        class_weights: $v$, one for each class.
        y: the correct classes; or soft targets, whose examples weigh $\sum_c y_{ic} v_c$.
        classes: how many there are.
        weights: $w$, one for each example, 1 by default.

    Raises:
        ValueError: not one number for each class.

    >>> print(by_class(jnp.array([1.0, 9.0]), jnp.array([0, 1, 1]), 2))
    [1. 9. 9.]
    """
    if jnp.shape(class_weights) != (classes,):
        raise ValueError(
            f"class_weights of shape {jnp.shape(class_weights)}: need ({classes},), a number for each class"
        )
    of_classes = jnp.asarray(class_weights)
    of_rows = of_classes[y] if jnp.ndim(y) == 1 else y.astype(of_classes.dtype) @ of_classes
    return of_rows if weights is None else of_rows * weights.astype(of_rows.dtype)


def svm_loss_forward(scores: Scores, y: Labels, weights: Weights | None = None) -> tuple[Scalar, tuple]:
    r"""Multiclass hinge loss (Weston and Watkins, 1999; the CS231n notes on linear classification).

    Every wrong class should score at least 1 below the right one:

    $$L = \frac{1}{W} \sum_i w_i \sum_{c \ne y_i} \max(0,\; s_{ic} - s_{i y_i} + 1) .$$

    Arguments, results and errors are those of `softmax_loss_forward`, without smoothing and soft targets.

    >>> scores, y = jnp.zeros((2, 10)), jnp.array([3, 7])
    >>> loss, cache = svm_loss_forward(scores, y)
    >>> print(loss, svm_loss(scores, y))
    9.0 9.0
    """
    wide = wide_type(scores)
    right = _one_hot(y, scores.shape[1])
    score_of_right = jnp.sum(jnp.where(right, scores, 0).astype(wide), axis=1, keepdims=True)
    margins = jnp.where(right, 0, scores.astype(wide) - score_of_right + 1)
    shares = example_shares(weights, len(scores), wide)
    return jnp.sum(shares * jnp.sum(jnp.maximum(margins, 0), axis=1)), (margins, y, shares, scores)


def svm_loss_backward(dout: Scalar, cache: tuple) -> Scores:
    r"""VJP of the hinge loss.

    Each violated margin (a positive term) has derivative 1 by its own score and -1 by the right
    class's; so the right class gets minus the number of violations.

    >>> _, cache = svm_loss_forward(jnp.zeros((1, 4)), jnp.array([1]))
    >>> print(svm_loss_backward(jnp.ones(()), cache))
    [[ 1. -3.  1.  1.]]
    """
    margins, y, shares, scores = cache
    violated = (margins > 0).astype(margins.dtype)
    count = jnp.sum(violated, axis=1, keepdims=True)
    dscores = violated - jnp.where(_one_hot(y, margins.shape[1]), count, 0)
    return (dscores * (shares * dout)[:, None]).astype(scores.dtype)


def sigmoid_loss_forward(
    scores: Scores, y: Bool[Array, "batch classes"] | Real[Array, "batch classes"], weights: Weights | None = None
) -> tuple[Scalar, tuple]:
    r"""Binary cross-entropy of each score's logistic function: for examples that have several labels, or none.

    With $p = \sigma(s)$ the probability that a label applies, and $t$ 1 where it does and 0 where it does not,
    $-t \log p - (1 - t) \log (1 - p)$ is $\log(1 + e^s) - s t$. The mean over the $K$ labels, in a form where the
    exponential never overflows, is

    $$L = \frac{1}{W} \sum_i w_i \frac1K \sum_k \left(\max(s_{ik}, 0) - s_{ik} t_{ik}
      + \log\left(1 + e^{-|s_{ik}|}\right)\right), \quad W = \sum_i w_i .$$

    Args:
        scores: the log-odds of each label (logits).
        y: which labels apply, 0 or 1; or probabilities of it, in between.
        weights: $w$, one for each example, 1 by default; an example of weight 0 has no influence.

    Returns:
        The loss, in at least float32, and the cache.

    Raises:
        TypeError: targets that are neither numbers nor booleans.
        ValueError: shapes that do not fit, or (outside of `jit`) a target outside [0, 1].

    >>> scores, y = jnp.zeros((2, 3)), jnp.array([[1, 0, 1], [0, 0, 0]])
    >>> loss, cache = sigmoid_loss_forward(scores, y)
    >>> print(f"{loss:.4f} {sigmoid_loss(scores, y):.4f}")
    0.6931 0.6931
    """
    wide = wide_type(scores)
    s, t = scores.astype(wide), y.astype(wide)
    losses = jnp.maximum(s, 0) - s * t + jnp.log1p(jnp.exp(-jnp.abs(s)))
    shares = example_shares(weights, len(scores), wide)
    return jnp.sum(shares * jnp.mean(losses, axis=1)), (scores, y, shares)


def sigmoid_loss_backward(dout: Scalar, cache: tuple) -> Scores:
    r"""VJP of the sigmoid loss: probabilities less targets, again.

    The derivative of $\log(1 + e^s)$ is $e^s / (1 + e^s) = \sigma(s)$, that of $s t$ is $t$; hence

    $$ds_{ik} = \frac{w_i}{W K} \left(\sigma(s_{ik}) - t_{ik}\right) dL .$$

    >>> _, cache = sigmoid_loss_forward(jnp.zeros((1, 4)), jnp.array([[0, 1, 0, 0]]))
    >>> print(sigmoid_loss_backward(jnp.ones(()), cache))
    [[ 0.125 -0.125  0.125  0.125]]
    """
    scores, y, shares = cache
    s, t = scores.astype(shares.dtype), y.astype(shares.dtype)
    return ((jax.nn.sigmoid(s) - t) * (shares * dout / s.shape[1])[:, None]).astype(scores.dtype)


def _is_soft(y: Array) -> bool:
    return jnp.issubdtype(y.dtype, jnp.floating)


def _one_hot(y: Array, classes: int) -> Array:
    # In int32: uint8 counts no further than 255, and classes may.
    return y.astype(jnp.int32)[:, None] == jnp.arange(classes, dtype=jnp.int32)[None, :]


def _targets(y: Array, classes: int, label_smoothing: Number, dtype: jnp.dtype) -> Array:
    smoothing = jnp.asarray(label_smoothing, dtype)
    sharp = y if _is_soft(y) else _one_hot(y, classes)
    return (1 - smoothing) * sharp.astype(dtype) + smoothing / classes


def _check_labels(scores: Any, y: Any, weights: Any, *constants: Any) -> None:
    if jnp.ndim(scores) != 2 or not scores.size or jnp.shape(y) != scores.shape[:1]:
        raise ValueError(
            f"loss: scores {jnp.shape(scores)}, y {jnp.shape(y)}; need (batch, classes) and (batch,), not empty"
        )
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise TypeError(f"loss: y has type {y.dtype}; labels must be integers, as in y.astype(int)")
    check_weights(weights, len(scores))
    if isinstance(y, jax.core.Tracer):
        return  # values are unknown while tracing; `Dataset` has checked them
    values = np.asarray(y)  # in NumPy: JAX would trace the minimum under `jit`, though `y` itself is concrete
    low, high, allowed = values.min(), values.max(), scores.shape[1] - 1
    if low < 0 or high > allowed:
        raise ValueError(
            f"label {low if low < 0 else high} is out of range: scores {scores.shape} allow 0 to {allowed}"
        )


def _check_labels_or_soft_targets(scores: Any, y: Any, weights: Any, *constants: Any) -> None:
    if jnp.ndim(y) == 2 and _is_soft(y):
        _check_targets(scores, y, weights)
        _check_distributions(y)
    else:
        _check_labels(scores, y, weights)


def _check_distributions(y: Any) -> None:
    if isinstance(y, jax.core.Tracer):
        return
    sums = np.asarray(y, float).sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > _ROUNDING)
    if wrong.size:
        raise ValueError(
            f"soft targets of row {wrong[0]} sum to {sums[wrong[0]]:g}, not 1: divide by y.sum(axis=1, keepdims=True)"
        )


def _check_targets(scores: Any, y: Any, weights: Any) -> None:
    if jnp.ndim(scores) != 2 or not scores.size or jnp.shape(y) != scores.shape:
        raise ValueError(f"loss: scores {jnp.shape(scores)}, y {jnp.shape(y)}; need one target a score, not empty")
    if not any(jnp.issubdtype(y.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating)):
        raise TypeError(f"loss: y has type {y.dtype}; targets must be numbers from 0 to 1, as in y.astype(float)")
    check_weights(weights, len(scores))
    if isinstance(y, jax.core.Tracer):
        return
    values = np.asarray(y, float)
    outside = values[~((values >= 0) & (values <= 1 + _ROUNDING))]
    if outside.size:
        raise ValueError(f"a target of {outside[0]:g} is out of range: each must be in [0, 1]")


softmax_loss = differentiable(softmax_loss_forward, softmax_loss_backward, check=_check_labels_or_soft_targets)
svm_loss = differentiable(svm_loss_forward, svm_loss_backward, check=_check_labels)
sigmoid_loss = differentiable(sigmoid_loss_forward, sigmoid_loss_backward, check=_check_targets)
