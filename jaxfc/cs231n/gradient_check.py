"""The assignment's numerical gradients, by centred differences."""

from collections.abc import Callable, Sequence
from random import randrange
from typing import Any

import numpy as np

__all__ = [
    "eval_numerical_gradient",
    "eval_numerical_gradient_array",
    "eval_numerical_gradient_blobs",
    "eval_numerical_gradient_net",
    "grad_check_sparse",
]

Array = np.ndarray


def eval_numerical_gradient(f: Callable[[Array], float], x: Array, verbose: bool = True, h: float = 1e-5) -> Array:
    """Return the gradient of a number-valued `f` at `x`; `x` is perturbed in place, and restored.

    >>> eval_numerical_gradient(lambda x: np.sum(x**2), np.array([1.0, 3.0]), verbose=False).round(6)
    array([2., 6.])
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = _difference(f, x, index, h) / (2 * h)
        if verbose:
            print(index, gradient[index])
    return gradient


def eval_numerical_gradient_array(f: Callable[[Array], Array], x: Array, df: Array, h: float = 1e-5) -> Array:
    """Return the gradient at `x` of an array-valued `f`, given the gradient `df` of what follows it.

    >>> eval_numerical_gradient_array(lambda x: x**2, np.array([1.0, 3.0]), df=np.array([1.0, 10.0])).round(6)
    array([ 2., 60.])
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        gradient[index] = np.sum(_difference(lambda x: np.array(f(x)), x, index, h) * df) / (2 * h)
    return gradient


def eval_numerical_gradient_blobs(
    f: Callable[..., None], inputs: Sequence[Any], output: Any, h: float = 1e-5
) -> list[Array]:
    """Return the gradients of an `f` that reads blobs and writes into the blob `output`.

    A blob has `vals` and `diffs`; `output.diffs` is the gradient of what follows.

    >>> from types import SimpleNamespace
    >>> x, out = SimpleNamespace(vals=np.array([1.0, 3.0])), SimpleNamespace(vals=np.zeros(2), diffs=np.ones(2))
    >>> def square(x, out):
    ...     out.vals = x.vals**2
    >>> [gradient.round(6) for gradient in eval_numerical_gradient_blobs(square, [x], out)]
    [array([2., 6.])]
    """

    def run(_: Array) -> Array:
        f(*inputs, output)
        return np.copy(output.vals)

    return [eval_numerical_gradient_array(run, blob.vals, output.diffs, h) for blob in inputs]


def eval_numerical_gradient_net(net: Any, inputs: Sequence[Any], output: Any, h: float = 1e-5) -> list[Array]:
    """Return the gradients of a net whose `forward()` reads and writes blobs.

    >>> from types import SimpleNamespace
    >>> x, out = SimpleNamespace(vals=np.array([1.0, 3.0])), SimpleNamespace(vals=np.zeros(2), diffs=np.ones(2))
    >>> def forward():
    ...     out.vals = x.vals**2
    >>> [gradient.round(6) for gradient in eval_numerical_gradient_net(SimpleNamespace(forward=forward), [x], out)]
    [array([2., 6.])]
    """
    return eval_numerical_gradient_blobs(lambda *_: net.forward(), inputs, output, h=h)


def grad_check_sparse(
    f: Callable[[Array], float], x: Array, analytic_grad: Array, num_checks: int = 10, h: float = 1e-5
) -> None:
    """Compare a gradient with differences at entries drawn at random, and print each comparison.

    >>> grad_check_sparse(lambda x: 3 * x[0], np.array([2.0]), np.array([3.0]), num_checks=1)  # doctest: +ELLIPSIS
    numerical: 3.000000 analytic: 3.000000, relative error: ...
    """
    for _ in range(num_checks):
        index = tuple(randrange(size) for size in x.shape)
        numerical = _difference(f, x, index, h) / (2 * h)
        analytic = analytic_grad[index]
        error = abs(numerical - analytic) / (abs(numerical) + abs(analytic))
        print(f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}")


def _difference(f: Callable[[Array], Any], x: Array, index: tuple[int, ...], h: float) -> Any:
    """`f(x + h e) - f(x - h e)`, with `e` the unit array of that index."""
    old = x[index]
    x[index] = old + h
    above = f(x)
    x[index] = old - h
    below = f(x)
    x[index] = old
    return above - below
