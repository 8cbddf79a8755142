"""The fully-connected network: its description, and the pure functions `init`, `apply` and `loss`.

`FCNet` says what a network is; its parameters live apart from it, as a pytree that goes in and comes
out. Whatever changes a shape or the program is static in an `FCNet`; whatever is only a number is a
leaf, so that changing it compiles nothing and `jax.vmap` runs over it.
"""

import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Key, Num

from jaxfc import layers
from jaxfc.errors import PrecisionError, check_number, unknown_name

NORMALIZATIONS = ("batchnorm", "layernorm")
INITIALIZERS = ("he", "glorot", "lecun")
DTYPES = ("float64", "float32", "bfloat16")

Layer = dict[str, Float[Array, "..."]]
Params = list[Layer]
Scores = Float[Array, "batch classes"]
Masks = Sequence[Bool[Array, "batch _"]]


class RunningStats(NamedTuple):
    """The running mean and variance of one batchnorm layer, each `(features,)`.

    >>> params, (first,) = init(FCNet(4, (8,), 3, normalization="batchnorm"), jax.random.key(0))
    >>> first.mean.shape, first.var.shape
    ((8,), (8,))
    """

    mean: Float[Array, " features"]
    var: Float[Array, " features"]


Stats = tuple[RunningStats, ...]
"""One `RunningStats` for each hidden layer with batchnorm; `()` in a network without."""


@dataclass(frozen=True)
class FCNet:
    r"""A fully-connected network: {affine - [normalization] - activation - [dropout]} × L - affine - softmax.

    Args:
        input_dim: the number of input features.
        hidden_dims: the hidden layers' widths; any number of them, none for a linear classifier.
        num_classes: the number of classes.
        normalization: None, `"batchnorm"` or `"layernorm"`.
        activation: one of `jaxfc.layers.ACTIVATIONS`.
        dropout_keep_ratio: the ratio of activations KEPT, in (0, 1]; None for no dropout at all.
        reg: L2 strength $\lambda$ of the term $\tfrac\lambda2 \sum w^2$, over weights only; None for no such term.
        weight_scale: the standard deviation of initial weights, or a rule that derives it from the
            layer's width: `"he"` $\sqrt{2/\mathrm{in}}$ (He et al., 2015), `"glorot"`
            $\sqrt{2/(\mathrm{in}+\mathrm{out})}$ (Glorot and Bengio, 2010), `"lecun"` $\sqrt{1/\mathrm{in}}$.
        label_smoothing: see `jaxfc.layers.softmax_loss_forward`.
        norm_momentum: the part of the running statistics kept at each step (batchnorm).
        norm_eps: added to variances before the square root.
        param_dtype: `"float32"`, `"float64"` or `"bfloat16"`.
        compute_dtype: the type of activations and matrix products; None for that of the parameters.
            `"bfloat16"` over float32 parameters is the usual mixed precision of accelerators.

    The fields from `dropout_keep_ratio` to `norm_eps` are leaves of the pytree that an `FCNet` is; the
    others are static. A leaf that is None, or a `weight_scale` that is a name, is part of the structure.

    Raises:
        ValueError: an unknown name (the nearest valid one is named), or a number out of its range.
        TypeError: a width that is not an integer.

    >>> net = FCNet(64, (100, 100), 10, normalization="batchnorm")
    >>> params, stats = init(net, jax.random.key(0))
    >>> scores, stats = apply(net, params, stats, jnp.ones((5, 64)))
    >>> scores.shape
    (5, 10)
    """

    input_dim: int
    hidden_dims: Sequence[int]
    num_classes: int
    normalization: str | None = None
    activation: str = "relu"
    dropout_keep_ratio: Any = None
    reg: Any = None
    weight_scale: Any = "he"
    label_smoothing: Any = 0.0
    norm_momentum: Any = 0.9
    norm_eps: Any = 1e-5
    param_dtype: str = "float32"
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        _check_width("input_dim", self.input_dim)
        for width in self.hidden_dims:
            _check_width("hidden_dims", width)
        _check_width("num_classes", self.num_classes, least=2)
        _check_name("normalization", self.normalization, NORMALIZATIONS, optional=True)
        _check_name("activation", self.activation, layers.ACTIVATIONS)
        _check_name("param_dtype", self.param_dtype, DTYPES)
        _check_name("compute_dtype", self.compute_dtype, DTYPES, optional=True)
        if isinstance(self.weight_scale, str):
            _check_name("weight_scale", self.weight_scale, INITIALIZERS)
        else:
            check_number("weight_scale", self.weight_scale, low=0)
        if self.dropout_keep_ratio is not None:
            check_number("dropout_keep_ratio", self.dropout_keep_ratio, low=0, high=1, exclude="low")
        if self.reg is not None:
            check_number("reg", self.reg, low=0)
        check_number("label_smoothing", self.label_smoothing, low=0, high=1, exclude="high")
        check_number("norm_momentum", self.norm_momentum, low=0, high=1)
        check_number("norm_eps", self.norm_eps, low=0, exclude="low")

    @property
    def dims(self) -> tuple[int, ...]:
        """All widths, from the input's to the scores'."""
        return (self.input_dim, *self.hidden_dims, self.num_classes)

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations and matrix products."""
        return jnp.dtype(self.compute_dtype or self.param_dtype)


_LEAVES = ("dropout_keep_ratio", "reg", "weight_scale", "label_smoothing", "norm_momentum", "norm_eps")


def _flatten(net: FCNet) -> tuple[tuple, tuple]:
    static = tuple(getattr(net, f.name) for f in fields(net) if f.name not in _LEAVES)
    named_scale = net.weight_scale if isinstance(net.weight_scale, str) else None
    leaves = tuple(
        (jax.tree_util.GetAttrKey(name), None if name == "weight_scale" and named_scale else getattr(net, name))
        for name in _LEAVES
    )
    return leaves, (static, named_scale)


def _unflatten(structure: tuple, leaves: tuple) -> FCNet:
    # Not through __init__: leaves may be tracers, or whatever else a tree is mapped to.
    static, named_scale = structure
    net = object.__new__(FCNet)
    values = dict(zip((f.name for f in fields(FCNet) if f.name not in _LEAVES), static, strict=True))
    values |= dict(zip(_LEAVES, leaves, strict=True))
    if named_scale:
        values["weight_scale"] = named_scale
    for name, value in values.items():
        object.__setattr__(net, name, value)
    return net


jax.tree_util.register_pytree_with_keys(FCNet, _flatten, _unflatten)


def init(net: FCNet, key: Key[Array, ""]) -> tuple[Params, Stats]:
    """Draw initial parameters: normal weights of the net's `weight_scale`, biases and beta 0, gamma 1.

    Returns:
        `params`, a list with one dict for each layer: `w` `(in, out)`, `b` `(out,)` and, in
        normalized layers, `gamma` and `beta` `(out,)`; and `stats`, mean 0 and variance 1.

    Raises:
        PrecisionError: a float64 network while JAX's 64-bit mode is off.

    >>> params, stats = init(FCNet(4, (8,), 3, normalization="layernorm"), jax.random.key(0))
    >>> [{name: value.shape for name, value in layer.items()} for layer in params]
    [{'w': (4, 8), 'b': (8,), 'gamma': (8,), 'beta': (8,)}, {'w': (8, 3), 'b': (3,)}]
    """
    if "float64" in (net.param_dtype, net.compute_dtype) and not jax.config.jax_enable_x64:
        raise PrecisionError("float64 needs 64-bit mode: jax.config.update('jax_enable_x64', True) at the start")
    dtype = jnp.dtype(net.param_dtype)
    shapes = list(itertools.pairwise(net.dims))
    ends = np.cumsum([fan_in * fan_out for fan_in, fan_out in shapes])
    # One draw for all layers: to compile a draw for each takes longer than anything else here.
    draws = jnp.split(jax.random.normal(key, (ends[-1],), dtype), ends[:-1])
    params, stats = [], []
    for i, ((fan_in, fan_out), draw) in enumerate(zip(shapes, draws, strict=True)):
        scale = jnp.asarray(_initial_scale(net.weight_scale, fan_in, fan_out), dtype)
        layer = {"w": scale * draw.reshape(fan_in, fan_out), "b": jnp.zeros(fan_out, dtype)}
        if net.normalization and i < len(net.hidden_dims):
            layer |= {"gamma": jnp.ones(fan_out, dtype), "beta": jnp.zeros(fan_out, dtype)}
            if net.normalization == "batchnorm":
                wide = jnp.promote_types(dtype, jnp.float32)
                stats.append(RunningStats(jnp.zeros(fan_out, wide), jnp.ones(fan_out, wide)))
        params.append(layer)
    return params, tuple(stats)


def _initial_scale(weight_scale: Any, fan_in: int, fan_out: int) -> Any:
    if weight_scale == "he":
        return math.sqrt(2 / fan_in)
    if weight_scale == "glorot":
        return math.sqrt(2 / (fan_in + fan_out))
    if weight_scale == "lecun":
        return math.sqrt(1 / fan_in)
    return weight_scale


def apply(
    net: FCNet,
    params: Params,
    stats: Stats,
    x: Num[Array | np.ndarray, "batch features"],
    *,
    key: Key[Array, ""] | Masks | None = None,
    train: bool = False,
) -> tuple[Scores, Stats]:
    """Compute the class scores (logits) of a batch.

    Args:
        net: the network.
        params: its parameters, as `init` returns them.
        stats: its running statistics, likewise.
        x: inputs, cast to the compute dtype.
        key: for dropout; needed only in training mode. In its place, a list with the mask of each hidden
            layer, boolean `(batch, width)`, true where an activation is kept.
        train: training mode: batch statistics and dropout; otherwise running statistics and none.

    Returns:
        The scores, in at least float32, and the running statistics, updated in training mode.

    Raises:
        ValueError: `x` does not have `net.input_dim` features, or a key is missing.

    >>> net = FCNet(4, (8,), 3, normalization="batchnorm", dropout_keep_ratio=0.5)
    >>> params, stats = init(net, jax.random.key(0))
    >>> scores, stats = apply(net, params, stats, jnp.ones((5, 4)), key=jax.random.key(1), train=True)
    >>> scores.shape, len(stats)
    ((5, 3), 1)
    """
    if x.ndim != 2 or x.shape[1] != net.input_dim:
        raise ValueError(f"x has shape {x.shape}; this network takes (batch, {net.input_dim})")
    if train and net.dropout_keep_ratio is not None and key is None:
        raise ValueError("dropout in training mode draws a mask: pass key=jax.random.key(...)")
    activation = layers.ACTIVATIONS[net.activation]
    x = jnp.asarray(x).astype(net.dtype)
    new_stats = []
    for i, layer in enumerate(params[:-1]):
        x = layers.affine(x, layer["w"], layer["b"])
        if net.normalization == "batchnorm":
            x, running = _batchnorm(net, layer, stats[i], x, train=train)
            new_stats.append(running)
        elif net.normalization == "layernorm":
            x = layers.layernorm(x, layer["gamma"], layer["beta"], net.norm_eps)
        x = activation(x)
        if train and net.dropout_keep_ratio is not None:
            noise = key[i] if isinstance(key, Sequence) else jax.random.fold_in(key, i)
            x = layers.dropout(x, net.dropout_keep_ratio, noise)
    scores = layers.affine(x, params[-1]["w"], params[-1]["b"])
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32)), tuple(new_stats)


def _batchnorm(net: FCNet, layer: Layer, stats: RunningStats, x: Array, *, train: bool) -> tuple[Array, RunningStats]:
    if not train:
        return layers.batchnorm_test(x, layer["gamma"], layer["beta"], *stats, net.norm_eps), stats
    x, running = layers.batchnorm(x, layer["gamma"], layer["beta"], *stats, net.norm_momentum, net.norm_eps)
    return x, RunningStats(*running)


def loss(
    net: FCNet,
    params: Params,
    stats: Stats,
    x: Num[Array | np.ndarray, "batch features"],
    y: Integer[Array | np.ndarray, " batch"],
    key: Key[Array, ""] | Masks | None = None,
    weights: Float[Array, " batch"] | None = None,
) -> tuple[Float[Array, ""], Stats]:
    r"""The training loss: mean cross-entropy plus $\tfrac\lambda2 \sum w^2$ over the weight matrices.

    Made for `jax.value_and_grad(loss, argnums=1, has_aux=True)`. Arguments are those of `apply` in
    training mode; `weights` are per-example weights.

    Returns:
        The loss, and the updated running statistics.

    Raises:
        ValueError: as `apply`; and labels that do not fit (out of range: outside of `jit` only).
        TypeError: labels that are not integers.

    >>> net = FCNet(4, (8,), 3)
    >>> params, stats = init(net, jax.random.key(0))
    >>> gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)
    >>> (value, stats), grads = gradient(net, params, stats, jnp.ones((2, 4)), jnp.array([0, 2]))
    >>> grads[0]["w"].shape
    (4, 8)
    """
    scores, stats = apply(net, params, stats, x, key=key, train=True)
    value = layers.softmax_loss(scores, jnp.asarray(y), weights, net.label_smoothing)
    if net.reg is not None:
        value += sum(layers.l2_penalty(layer["w"], net.reg) for layer in params)
    return value, stats


def predict_proba(net: FCNet, params: Params, stats: Stats, x: Num[Array | np.ndarray, "batch features"]) -> Scores:
    """Class probabilities, the softmax of the test-mode scores: `(batch, classes)`.

    >>> net = FCNet(4, (8,), 3, weight_scale=0.0)
    >>> print(np.asarray(predict_proba(net, *init(net, jax.random.key(0)), jnp.ones((1, 4)))).round(3))
    [[0.333 0.333 0.333]]
    """
    return jax.nn.softmax(apply(net, params, stats, x)[0])


def predict(
    net: FCNet, params: Params, stats: Stats, x: Num[Array | np.ndarray, "batch features"]
) -> Integer[Array, " batch"]:
    """The class of the highest test-mode score, for each row.

    >>> net = FCNet(2, (), 2)
    >>> params = [{"w": jnp.eye(2), "b": jnp.zeros(2)}]
    >>> print(predict(net, params, (), jnp.array([[1.0, 0.0], [0.0, 1.0]])))
    [0 1]
    """
    return jnp.argmax(apply(net, params, stats, x)[0], axis=1)


def summary(net: FCNet) -> str:
    """A table of the network's layers, their output shapes and parameter counts.

    >>> print(summary(FCNet(64, (100,), 10, normalization="layernorm")))
    layer            output      parameters
    affine           (N, 100)         6,500
    layernorm, relu  (N, 100)           200
    affine           (N, 10)          1,010
    total                             7,710
    """
    rows = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(net.dims)):
        rows.append(("affine", fan_out, fan_in * fan_out + fan_out))
        if i < len(net.hidden_dims):
            parts = [net.normalization, net.activation]
            if net.dropout_keep_ratio is not None:
                parts.append(f"dropout (keep {float(net.dropout_keep_ratio):g})")
            rows.append((", ".join(filter(None, parts)), fan_out, 2 * fan_out if net.normalization else 0))
    total = sum(count for *_, count in rows)
    width = max(len(name) for name, *_ in rows) + 2
    lines = [f"{'layer':<{width}}{'output':<10}{'parameters':>12}"]
    lines += [f"{name:<{width}}{f'(N, {units})':<10}{count:>12,}" for name, units, count in rows]
    lines.append(f"{'total':<{width + 10}}{total:>12,}")
    return "\n".join(lines)


def _check_width(name: str, value: Any, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: {value!r} must be an integer")
    if value < least:
        raise ValueError(f"{name}: {value} must be at least {least}")


def _check_name(what: str, value: Any, valid: Any, *, optional: bool = False) -> None:
    if not (value in valid or (optional and value is None)):
        raise unknown_name(what, value, valid)
