r"""How noisy a target is, from its rows alone, in a moment: the error that a linear model makes on rows left out."""

import numpy as np
from jaxtyping import Num

STRENGTHS = 10.0 ** np.arange(-2, 4)


def unexplained(x: Num[np.ndarray, "rows features"], y: Num[np.ndarray, "rows outputs"]) -> float:
    r"""The part of targets' variance that ridge regression leaves unexplained in rows that it has not seen.

    Ridge regression of strength $\lambda$ predicts $\hat y = H y$ with $H = X (X^\top X + \lambda I)^{-1} X^\top$, of
    centred $X$ and $y$; fitted without row $i$ it misses that row by $(y_i - \hat y_i) / (1 - H_{ii})$ (Allen, 1974).
    So one decomposition of $X^\top X$ has the error on every row left out, for every strength; the least counts.

    Args:
        x: inputs, as a network would have them.
        y: targets; of classes, 0 or 1 for each.

    Returns:
        From 0, where a linear model says all, to 1, where it says nothing.

    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> unexplained(x, x[:, :1]) < 0.001, unexplained(x, np.random.default_rng(1).normal(size=(200, 1))) > 0.9
    (True, True)
    """
    x, y = (np.asarray(each, np.float64) for each in (x, y))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    variance = np.square(y).sum()
    if not (variance > 0 and x.any()):
        return 1.0
    left, strength = _left_singular(x)
    parts, leverages = left.T @ y, np.square(left)
    # What no strength explains, and the part of each row's 1 - H that does not depend on it: the mean saw the row, too.
    beyond, free = y - left @ parts, np.maximum(1 - 1 / len(x) - leverages.sum(axis=1), 0)
    least = 1.0
    for ridge in STRENGTHS:
        lost = ridge / (strength + ridge)
        missed = (beyond + left @ (lost[:, None] * parts)) / (free + leverages @ lost)[:, None]
        least = min(least, float(np.square(missed).sum() / variance))
    return least


def _left_singular(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors and squared singular values, from the smaller of both Gram matrices."""
    wide = x.shape[1] > x.shape[0]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > max(values[-1], 0) * 1e-10
    values, vectors = values[kept], vectors[:, kept]
    return (vectors if wide else x @ vectors / np.sqrt(values)), values
