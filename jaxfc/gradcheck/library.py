"""The gradients of the library's own layers, and of anybody's network."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc import layers, objective
from jaxfc.errors import check_number, unknown_name
from jaxfc.gradcheck.check import check_vjp, compare
from jaxfc.gradcheck.report import Report, Row
from jaxfc.networks import FCNet, Network, ResidualNet
from jaxfc.tasks import Classification, Task


def check_layers(seed: int = 0, only: Sequence[str] = ()) -> list[Row]:
    """Compare for every layer and two whole networks, in float64 whatever the process's setting.

    Args:
        seed: of the values drawn.
        only: the names of layers, where not all are to be checked.

    Raises:
        ValueError: an unknown name, or a seed below 0.

    >>> [(row.function, row.argument, row.passed) for row in check_layers(only=["relu"])]
    [('relu', 'x', True)]
    """
    check_number("seed", seed, low=0, high=2**31 - 1)
    with jax.enable_x64(True):
        cases = _cases(seed)
    for name in only:
        if name not in cases:
            raise unknown_name("layer", name, cases)
    rows = []
    for name, (f, args, options) in cases.items():
        if only and name not in only:
            continue
        rows += [row._replace(function=name) for row in compare(f, *args, seed=seed, **options).rows]
    return rows


def check_network(net: Network, task: Task | None = None, *, rows: int = 7, seed: int = 0, **options: Any) -> Report:
    """Raise unless the gradient of a network's training loss agrees with autodiff and with centred differences.

    Inputs, targets and parameters are drawn; everything is computed in float64. (A network of the library's is taken
    with float64 parameters; one of your own must take its types from its arguments.)

    Args:
        net: the network; a small one.
        task: what it is trained for, by default a classification.
        rows: of the batch.
        seed: of what is drawn.
        **options: the keyword arguments of `compare`.

    Returns:
        The report of what was compared.

    Raises:
        AssertionError, TypeError, ValueError: as `check_vjp`.

    >>> check_network(FCNet(3, (4,), 2, activation="tanh")).passed
    True
    """
    task = Classification() if task is None else task
    generator = np.random.default_rng(seed)
    with jax.enable_x64(True):
        names = {field.name for field in fields(net)}
        net = (
            replace(net, param_dtype="float64", compute_dtype=None)
            if {"param_dtype", "compute_dtype"} <= names
            else net
        )
        params, stats = net.init(jax.random.key(seed))
        params = jax.tree.map(lambda p: jnp.asarray(p + 0.3 * generator.normal(size=p.shape)), params)
        y = _targets(net, task, generator, rows)
        x = generator.normal(size=(rows, net.input_dim))
        loss = _loss_of(net, stats, x, y, jax.random.key(seed), task)
    loss.__name__ = f"the loss of {type(net).__name__}"
    return check_vjp(loss, params, **options)


def _targets(net: Network, task: Task, generator: np.random.Generator, rows: int) -> np.ndarray:
    if task.targets == "classes":
        return generator.integers(net.output_dim, size=rows)
    if task.targets == "labels":
        return generator.integers(2, size=(rows, net.output_dim))
    return generator.normal(size=(rows, net.output_dim // max(len(getattr(task, "quantiles", ())), 1)))


def _cases(seed: int) -> dict[str, tuple[Callable, tuple, dict[str, Any]]]:
    """Each layer, with values to check it at and the options to check it with."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(size=shape)

    def away_from_zero(*shape: int) -> np.ndarray:
        """Values that a centred difference does not carry over a kink at 0."""
        x = draw(*shape)
        return np.where(x >= 0, x + 0.01, x - 0.01)

    def between(*shape: int) -> np.ndarray:
        """Values that are not near whole numbers."""
        return np.floor(2 * draw(*shape)) + generator.uniform(0.1, 0.9, shape)

    x, y, key = draw(7, 5), np.arange(7) % 4, jax.random.key(seed)
    counted = np.arange(5) % 3 != 1
    gamma, beta, mean, var = draw(5), draw(5), draw(5), np.square(draw(5)) + 0.5
    scores, weights = draw(7, 4), np.abs(draw(7))
    several, soft = generator.integers(2, size=(7, 4)), generator.dirichlet(np.ones(4), size=7)
    targets = draw(7, 5)
    within_and_beyond = np.sign(draw(7, 5)) * generator.choice((0.5, 2.0), size=(7, 5))
    first = {"argnums": 0}
    cases = {
        "affine": (layers.affine, (x, draw(5, 3), draw(3)), {}),
        "batchnorm": (layers.batchnorm, (x, gamma, beta, mean, var), {"argnums": (0, 1, 2), "has_aux": True}),
        "batchnorm_test": (layers.batchnorm_test, (x, gamma, beta, mean, var), {"argnums": (0, 1, 2)}),
        "layernorm": (layers.layernorm, (x, gamma, beta), {}),
        "layernorm, padded": (layers.layernorm, (x, gamma, beta, 1e-5, counted), {"argnums": (0, 1, 2)}),
        "rmsnorm": (layers.rmsnorm, (x, gamma), {}),
        "rmsnorm, padded": (layers.rmsnorm, (x, gamma, 1e-5, counted), {"argnums": (0, 1)}),
        "dropout": (layers.dropout, (x, 0.6, key), {}),
        "stochastic_depth": (layers.stochastic_depth, (x, 0.6, key), {}),
        "softmax_loss": (layers.softmax_loss, (scores, y, weights, 0.1), first),
        "softmax_loss, soft": (layers.softmax_loss, (scores, soft, weights, 0.1), first),
        "svm_loss": (layers.svm_loss, (scores, y, weights), first),
        "sigmoid_loss": (layers.sigmoid_loss, (scores, several, weights), first),
        "squared_loss": (layers.squared_loss, (x, targets, weights), first),
        "huber_loss": (layers.huber_loss, (targets + within_and_beyond, targets, weights), first),
        "quantile_loss": (
            layers.quantile_loss,
            (np.repeat(targets, 2, axis=1) + away_from_zero(7, 10), targets, weights, (0.1, 0.7)),
            first,
        ),
        "l2_penalty": (layers.l2_penalty, (draw(5, 3), 0.3), {}),
        "periodic": (layers.periodic, (x, draw(5, 3)), {}),
        # Numbers between edges, which are whole: a centred difference does not carry them over one.
        "piecewise_linear": (layers.piecewise_linear, (between(7, 5), np.tile(np.arange(-1.0, 3.0), (5, 1))), first),
        "columnwise_affine": (layers.columnwise_affine, (draw(7, 5, 4), draw(5, 4, 2), draw(5, 2)), {}),
    }
    cases |= {name: (f, (away_from_zero(7, 5),), {}) for name, f in layers.ACTIVATIONS.items()}
    for name, net in {
        "network": FCNet(5, (6, 4), 4, "batchnorm", "tanh", reg=0.1, param_dtype="float64"),
        "residual network": ResidualNet(5, 4, 2, 4, 2, reg=0.1, param_dtype="float64"),
    }.items():
        params, stats = net.init(key)
        cases[name] = (_loss_of(net, stats, x, y, None), (params,), {})
    return cases


def _loss_of(net: Network, stats: Any, x: Any, y: Any, key: Any, task: Task | None = None) -> Callable:
    task = Classification() if task is None else task
    return lambda params: objective.loss(net, params, stats, x, y, key, None, task)[0]
