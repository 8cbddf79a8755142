"""What the library's networks are built of: initial weights, normalization with its statistics, checks of fields."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxfc import layers
from jaxfc.errors import PrecisionError, unknown_name
from jaxfc.layers.common import wide_type, wider

NORMALIZATIONS = ("batchnorm", "layernorm", "rmsnorm")
INITIALIZERS = ("he", "glorot", "lecun")
DTYPES = ("float64", "float32", "bfloat16")

Layer = dict[str, Float[Array, "..."]]


class RunningStats(NamedTuple):
    """The running mean and variance of one batchnorm layer, each `(features,)`.

    >>> from jaxfc import FCNet, init
    >>> params, (first,) = init(FCNet(4, (8,), 3, normalization="batchnorm"), jax.random.key(0))
    >>> first.mean.shape, first.var.shape
    ((8,), (8,))
    """

    mean: Float[Array, " features"]
    var: Float[Array, " features"]


def draw_weights(key: Array, shapes: Sequence[tuple[int, int]], weight_scale: Any, dtype: Any) -> list[Array]:
    """Normal weights `(in, out)` of each shape.

    One draw for all of them: to compile a draw for each takes longer than anything else.
    """
    ends = np.cumsum([fan_in * fan_out for fan_in, fan_out in shapes])
    draws = jnp.split(jax.random.normal(key, (ends[-1],), dtype), ends[:-1])
    return [
        jnp.asarray(initial_scale(weight_scale, *shape), dtype) * draw.reshape(shape)
        for shape, draw in zip(shapes, draws, strict=True)
    ]


def initial_scale(weight_scale: Any, fan_in: int, fan_out: int) -> Any:
    """The standard deviation of a layer's initial weights: a number as it is, or what a name stands for."""
    if weight_scale == "he":
        return math.sqrt(2 / fan_in)
    if weight_scale == "glorot":
        return math.sqrt(2 / (fan_in + fan_out))
    if weight_scale == "lecun":
        return math.sqrt(1 / fan_in)
    return weight_scale


def norm_parameters(normalization: str | None, width: int, dtype: Any) -> Layer:
    """The parameters of a normalization: gamma 1 and beta 0, as far as it has them."""
    if normalization is None:
        return {}
    gamma = {"gamma": jnp.ones(width, dtype)}
    return gamma if normalization == "rmsnorm" else gamma | {"beta": jnp.zeros(width, dtype)}


def norm_count(normalization: str | None) -> int:
    """How many numbers a normalization has for each feature."""
    return {None: 0, "rmsnorm": 1}.get(normalization, 2)


def norm_stats(normalization: str | None, width: int, dtype: Any) -> tuple[RunningStats, ...]:
    """The statistics of a normalization: mean 0 and variance 1 where it is batchnorm's, else none."""
    wide = wider(dtype)
    return (RunningStats(jnp.zeros(width, wide), jnp.ones(width, wide)),) if normalization == "batchnorm" else ()


def normalize(
    net: Any, layer: Layer, stats: Sequence[RunningStats], x: Array, *, train: bool, counted: Any = None
) -> tuple[Array, tuple]:
    """Normalize activations as `net` has it; returns also the layer's statistics, updated in training mode.

    Args:
        net: a network with `normalization`, `norm_momentum` and `norm_eps`.
        layer: the parameters.
        stats: the layer's statistics; none but with batchnorm.
        x: activations.
        train: training mode.
        counted: in a layer that is padded, which features are its own; None: all.
    """
    if net.normalization == "layernorm":
        return layers.layernorm(x, layer["gamma"], layer["beta"], net.norm_eps, counted), ()
    if net.normalization == "rmsnorm":
        return layers.rmsnorm(x, layer["gamma"], net.norm_eps, counted), ()
    if net.normalization is None:
        return x, ()
    if not train:
        return layers.batchnorm_test(x, layer["gamma"], layer["beta"], *stats[0], net.norm_eps), tuple(stats)
    x, running = layers.batchnorm(x, layer["gamma"], layer["beta"], *stats[0], net.norm_momentum, net.norm_eps)
    return x, (RunningStats(*running),)


def l2_penalties(weights: Sequence[Array], reg: Any) -> Array:
    """The sum of the weights' L2 penalties, in the widest of their types."""
    terms = [layers.l2_penalty(w, reg) for w in weights]
    wide = wide_type(*terms)
    return sum(term.astype(wide) for term in terms)


def activation(chosen: str | Callable) -> Callable:
    """The function of an activation given by name or as itself."""
    return layers.ACTIVATIONS[chosen] if isinstance(chosen, str) else chosen


def activation_name(chosen: str | Callable) -> str:
    """What an activation is called in tables."""
    return chosen if isinstance(chosen, str) else getattr(chosen, "__name__", type(chosen).__name__)


def check_precision(net: Any) -> None:
    """Raise a PrecisionError for a float64 network while JAX's 64-bit mode is off."""
    if "float64" in (net.param_dtype, net.compute_dtype) and not jax.config.jax_enable_x64:
        raise PrecisionError("float64 needs 64-bit mode: jax.config.update('jax_enable_x64', True) at the start")


def check_inputs(net: Any, x: Any, key: Any, *, train: bool, draws: bool) -> None:
    """Raise a ValueError unless `x` is a batch for the network, and a key is there where it draws."""
    if x.ndim != 2 or x.shape[1] != net.input_dim:
        raise ValueError(f"x has shape {x.shape}; this network takes (batch, {net.input_dim})")
    if train and draws and key is None:
        raise ValueError("dropout in training mode draws a mask: pass key=jax.random.key(...)")


def check_fields(net: Any) -> None:
    """Raise a ValueError for an unknown name among the fields that the library's networks share."""
    check_name("normalization", net.normalization, NORMALIZATIONS, optional=True)
    if not callable(net.activation):
        check_name("activation", net.activation, layers.ACTIVATIONS)
    check_name("param_dtype", net.param_dtype, DTYPES)
    check_name("compute_dtype", net.compute_dtype, DTYPES, optional=True)
    for name in ("dropout_keep_ratio", "reg", "norm_momentum", "norm_eps"):
        if isinstance(getattr(net, name), str):
            raise TypeError(f"{name}={getattr(net, name)!r} must be a number")
    if isinstance(net.weight_scale, str):
        check_name("weight_scale", net.weight_scale, INITIALIZERS)


def check_width(name: str, value: Any, least: int = 1) -> None:
    """Raise unless a width is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: {value!r} must be an integer")
    if value < least:
        raise ValueError(f"{name}: {value} must be at least {least}")


def check_name(what: str, value: Any, valid: Any, *, optional: bool = False) -> None:
    """Raise unless a name is one of the valid ones; the nearest is named."""
    if not (value in valid or (optional and value is None)):
        raise unknown_name(what, value, valid)
