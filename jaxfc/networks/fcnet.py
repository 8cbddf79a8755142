"""The fully-connected network of the CS231n assignment."""

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, Num

from jaxfc import layers
from jaxfc.description import number
from jaxfc.layers.common import wide_type
from jaxfc.layers.precision import compute_type
from jaxfc.networks import blocks
from jaxfc.networks.blocks import Layer, RunningStats
from jaxfc.networks.contract import Cost, Outputs, network
from jaxfc.networks.padded import PaddedFCNet, pad

Params = list[Layer]
Stats = tuple[RunningStats, ...]
"""One `RunningStats` for each hidden layer with batchnorm; `()` in a network without."""
Masks = Sequence[Bool[Array, "batch _"]]


@network
class FCNet:
    r"""A fully-connected network: {affine - [normalization] - activation - [dropout]} × L - affine.

    Args:
        input_dim: the number of input features.
        hidden_dims: the hidden layers' widths; any number of them, none for a linear model.
        output_dim: the number of outputs: classes, labels, or what is predicted by regression.
        normalization: None, `"batchnorm"`, `"layernorm"` or `"rmsnorm"`.
        activation: one of `jaxfc.layers.ACTIVATIONS`, or any elementwise function.
        dropout_keep_ratio: the ratio of activations KEPT, in (0, 1]; None for no dropout at all.
        reg: L2 strength $\lambda$ of the term $\tfrac\lambda2 \sum w^2$, over weights only; None for no such term.
        weight_scale: the standard deviation of initial weights, or a rule that derives it from the
            layer's width: `"he"` $\sqrt{2/\mathrm{in}}$ (He et al., 2015), `"glorot"`
            $\sqrt{2/(\mathrm{in}+\mathrm{out})}$ (Glorot and Bengio, 2010), `"lecun"` $\sqrt{1/\mathrm{in}}$.
        norm_momentum: the part of the running statistics kept at each step (batchnorm).
        norm_eps: added to variances before the square root.
        param_dtype: `"float32"`, `"float64"` or `"bfloat16"`.
        compute_dtype: the type of activations and matrix products; None for that of the parameters.
            `"bfloat16"` over float32 parameters is the usual mixed precision of accelerators, and of CPUs that
            have instructions for it; see `jaxfc.layers.precision`.

    The fields from `dropout_keep_ratio` to `norm_eps` are leaves of the pytree that an `FCNet` is; the
    others are static. A leaf that is None, or a `weight_scale` that is a name, is part of the structure.

    Raises:
        ValueError: an unknown name (the nearest valid one is named), or a number out of its range.
        TypeError: a width that is not an integer.

    >>> net = FCNet(64, (100, 100), 10, normalization="batchnorm")
    >>> params, stats = net.init(jax.random.key(0))
    >>> scores, stats = net.apply(params, stats, jnp.ones((5, 64)))
    >>> scores.shape
    (5, 10)
    """

    input_dim: int
    hidden_dims: Sequence[int]
    output_dim: int
    normalization: str | None = None
    activation: str | Callable = "relu"
    dropout_keep_ratio: Any = number(None, low=0, high=1, exclude="low")
    reg: Any = number(None, low=0)
    weight_scale: Any = number("he", low=0)
    norm_momentum: Any = number(0.9, low=0, high=1)
    norm_eps: Any = number(1e-5, low=0, exclude="low")
    param_dtype: str = "float32"
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        blocks.check_width("input_dim", self.input_dim)
        for width in self.hidden_dims:
            blocks.check_width("hidden_dims", width)
        blocks.check_width("output_dim", self.output_dim)
        blocks.check_fields(self)

    @property
    def dims(self) -> tuple[int, ...]:
        """All widths, from the input's to the output's."""
        return (self.input_dim, *self.hidden_dims, self.output_dim)

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations and matrix products."""
        return compute_type(self)

    @property
    def first_shape(self) -> tuple[int, int]:
        """The shape of the first layer's weights."""
        return self.dims[:2]

    @property
    def num_layers(self) -> int:
        """The number of layers, each of which a program spells out."""
        return len(self.dims) - 1

    @property
    def min_batch(self) -> int:
        """The least rows of a training batch: of a single row, batchnorm leaves nothing."""
        return 2 if self.normalization == "batchnorm" and self.hidden_dims else 1

    def init(self, key: Key[Array, ""]) -> tuple[Params, Stats]:
        """Draw initial parameters: normal weights of the net's `weight_scale`, biases and beta 0, gamma 1.

        Returns:
            `params`, a list with one dict for each layer: `w` `(in, out)`, `b` `(out,)` and, in
            normalized layers, `gamma` and `beta` `(out,)`; and `stats`, mean 0 and variance 1.

        Raises:
            PrecisionError: a float64 network while JAX's 64-bit mode is off.
        """
        blocks.check_precision(self)
        dtype = jnp.dtype(self.param_dtype)
        params, stats = [], []
        weights = blocks.draw_weights(key, list(itertools.pairwise(self.dims)), self.weight_scale, dtype)
        for i, w in enumerate(weights):
            layer = {"w": w, "b": jnp.zeros(w.shape[1], dtype)}
            if i < len(self.hidden_dims):
                layer |= blocks.norm_parameters(self.normalization, w.shape[1], dtype)
                stats += blocks.norm_stats(self.normalization, w.shape[1], dtype)
            params.append(layer)
        return params, tuple(stats)

    def apply(
        self,
        params: Params,
        stats: Stats,
        x: Num[Array | np.ndarray, "batch features"],
        *,
        key: Key[Array, ""] | Masks | None = None,
        train: bool = False,
    ) -> tuple[Outputs, Stats]:
        """Compute the outputs (class scores, logits, predictions) of a batch.

        Args:
            params: the parameters, as `init` returns them.
            stats: the running statistics, likewise.
            x: inputs, cast to the compute dtype.
            key: for dropout; needed only in training mode. In its place, a list with the mask of each hidden
                layer, boolean `(batch, width)`, true where an activation is kept.
            train: training mode: batch statistics and dropout; otherwise running statistics and none.

        Returns:
            The outputs, in at least float32, and the running statistics, updated in training mode.

        Raises:
            ValueError: `x` does not have `input_dim` features, or a key is missing.
        """
        x = self.inputs(x, key, train=train)
        new_stats: list[RunningStats] = []
        for i, layer in enumerate(params[:-1]):
            x, running = self.hidden_layer(i, layer, stats, x, key, train=train)
            new_stats += running
        return self.outputs(params[-1], x), tuple(new_stats)

    def inputs(self, x: Any, key: Any, *, train: bool) -> Float[Array, "batch features"]:
        """The inputs as the first layer takes them, once it is checked that they are a batch."""
        blocks.check_inputs(self, x, key, train=train, draws=self.dropout_keep_ratio is not None)
        return jnp.asarray(x).astype(self.dtype)

    def hidden_layer(
        self, i: int, layer: Layer, stats: Stats, x: Array, key: Any, *, train: bool, counted: Any = None
    ) -> tuple[Float[Array, "batch width"], Stats]:
        """What hidden layer `i` makes of its inputs, and its statistics; where padded, `counted` are its own units."""
        x = layers.affine(x, layer["w"], layer["b"])
        x, running = blocks.normalize(self, layer, stats[i : i + 1], x, train=train, counted=counted)
        x = blocks.activation(self.activation)(x)
        if counted is not None:
            x = jnp.where(counted[None, :], x, 0)  # a sigmoid's 0 is not 0
        if train and self.dropout_keep_ratio is not None:
            noise = key[i] if isinstance(key, Sequence) else jax.random.fold_in(key, i)
            x = layers.dropout(x, self.dropout_keep_ratio, noise)
        return x, running

    def outputs(self, head: Layer, x: Float[Array, "batch width"]) -> Outputs:
        """What the last layer makes of its inputs."""
        # In bfloat16, outputs that differ would be rounded to ties.
        wide = wide_type(x)
        return layers.affine(x, head["w"], head["b"], None if wide == x.dtype else wide)

    def penalty(self, params: Params) -> Float[Array, ""] | None:
        r"""The L2 term $\tfrac\lambda2 \sum w^2$ over the weight matrices; None without one."""
        return None if self.reg is None else blocks.l2_penalties([layer["w"] for layer in params], self.reg)

    @property
    def family(self) -> Hashable:
        """What networks have in common that `padded` makes one program of; None where it does not.

        Widths, depth and scale of initial weights may differ. A linear model has no layer to pad. Of a function of
        a user's own it is not known whether it has a gradient at 0. Draws must not depend on how many there are.
        """
        threefry = jax.config.jax_threefry_partitionable and jax.config.jax_default_prng_impl == "threefry2x32"
        if not (threefry and self.hidden_dims and isinstance(self.activation, str)):
            return None
        return jax.tree.structure(replace(self, hidden_dims=(1,), weight_scale=None))

    def padded(self, family: Sequence["FCNet"]) -> PaddedFCNet:
        """This network in the form that a family of networks has in common; see `jaxfc.networks.padded`.

        >>> family = [FCNet(4, dims, 3) for dims in ((2,), (5, 6))]
        >>> [jax.tree.structure(net.padded(family)) for net in family][0].num_leaves
        4
        """
        return pad(self, family)

    def cost(self) -> Cost:
        """Parameters, and a row's operations and bytes of activations kept for the backward pass."""
        products = sum(a * b for a, b in itertools.pairwise(self.dims))
        hidden = sum(self.hidden_dims)
        kept = 3 if self.normalization or self.dropout_keep_ratio is not None else 2
        norm = blocks.norm_count(self.normalization) * hidden
        units = kept * hidden + self.output_dim
        return Cost(products + sum(self.dims[1:]) + norm, 2 * products, units * self.dtype.itemsize)

    def rows(self) -> list[tuple[str, str, int]]:
        """The lines of the network's `summary`: layer, output, parameters."""
        rows = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(self.dims)):
            rows.append(("affine", f"(N, {fan_out})", fan_in * fan_out + fan_out))
            if i < len(self.hidden_dims):
                parts = [self.normalization, blocks.activation_name(self.activation)]
                if self.dropout_keep_ratio is not None:
                    parts.append(f"dropout (keep {float(self.dropout_keep_ratio):g})")
                count = blocks.norm_count(self.normalization) * fan_out
                rows.append((", ".join(filter(None, parts)), f"(N, {fan_out})", count))
        return rows
