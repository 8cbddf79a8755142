"""Residual networks of inverted bottlenecks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from jaxfc import layers
from jaxfc.description import number
from jaxfc.layers.common import wide_type
from jaxfc.layers.precision import compute_type
from jaxfc.networks import blocks
from jaxfc.networks.contract import Cost, Outputs, network

Params = dict[str, Any]


@network
class ResidualNet:
    r"""A linear stem, `depth` blocks, and a linear head (Bachmann et al., 2023, https://arxiv.org/abs/2306.13575).

    A block widens its normalized input by `expansion`, and adds what it makes of it to the stream:

    $$h_{l+1} = h_l + W_2\, \sigma\!\left(W_1\, \mathrm{norm}(h_l) + b_1\right) + b_2 .$$

    The gradient reaches every block along the stream, so that such networks train at depths where a plain one
    does not. $W_2$ starts at $1 / \sqrt{\mathrm{depth}}$ of its scale: the blocks' sum then has the
    variance of one.

    Args:
        input_dim: the number of input features.
        width: the width of the stream.
        depth: the number of blocks.
        output_dim: the number of outputs.
        expansion: a block's inner width, in widths of the stream.
        normalization: `"layernorm"`, `"rmsnorm"`, `"batchnorm"` or None.
        activation: one of `jaxfc.layers.ACTIVATIONS`, or any elementwise function.
        depth_keep_ratio: stochastic depth (Huang et al., 2016): the ratio of examples for which the last
            block is KEPT in training; for block $l$ of $L$ it is $1 - \tfrac{l}{L} (1 - p)$. None for none.
        dropout_keep_ratio: the ratio of inner activations KEPT; None for no dropout.
        reg: L2 strength, over weights only; None for no such term.
        weight_scale: as in `jaxfc.FCNet`.
        norm_momentum: as in `jaxfc.FCNet`.
        norm_eps: as in `jaxfc.FCNet`.
        param_dtype: as in `jaxfc.FCNet`.
        compute_dtype: as in `jaxfc.FCNet`.

    Raises:
        ValueError, TypeError: as `jaxfc.FCNet`.

    >>> net = ResidualNet(64, 32, 3, 10)
    >>> params, stats = net.init(jax.random.key(0))
    >>> params["blocks"][0]["w1"].shape, net.apply(params, stats, jnp.ones((5, 64)))[0].shape
    ((32, 128), (5, 10))
    """

    input_dim: int
    width: int
    depth: int
    output_dim: int
    expansion: int = 4
    normalization: str | None = "layernorm"
    activation: str | Callable = "gelu"
    depth_keep_ratio: Any = number(None, low=0, high=1, exclude="low")
    dropout_keep_ratio: Any = number(None, low=0, high=1, exclude="low")
    reg: Any = number(None, low=0)
    weight_scale: Any = number("he", low=0)
    norm_momentum: Any = number(0.9, low=0, high=1)
    norm_eps: Any = number(1e-5, low=0, exclude="low")
    param_dtype: str = "float32"
    compute_dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("input_dim", "width", "depth", "output_dim", "expansion"):
            blocks.check_width(name, getattr(self, name))
        blocks.check_fields(self)
        if isinstance(self.depth_keep_ratio, str):
            raise TypeError(f"depth_keep_ratio={self.depth_keep_ratio!r} must be a number")

    @property
    def dtype(self) -> jnp.dtype:
        """The dtype of activations and matrix products."""
        return compute_type(self)

    @property
    def first_shape(self) -> tuple[int, int]:
        """The shape of the stem's weights."""
        return self.input_dim, self.width

    @property
    def num_layers(self) -> int:
        """The number of layers, each of which a program spells out."""
        return 2 * self.depth + 2

    @property
    def min_batch(self) -> int:
        """The least rows of a training batch: of a single row, batchnorm leaves nothing."""
        return 2 if self.normalization == "batchnorm" else 1

    @property
    def inner(self) -> int:
        """The inner width of a block."""
        return self.expansion * self.width

    def init(self, key: Key[Array, ""]) -> tuple[Params, tuple]:
        """Draw initial parameters: `stem` and `head` with `w` and `b`, and `blocks`.

        A block has `w1` `(width, inner)`, `b1`, `w2` `(inner, width)`, `b2` and, as far as its
        normalization has them, `gamma` and `beta` `(width,)`.

        Raises:
            PrecisionError: a float64 network while JAX's 64-bit mode is off.
        """
        blocks.check_precision(self)
        dtype = jnp.dtype(self.param_dtype)
        block = [(self.width, self.inner), (self.inner, self.width)]
        shapes = [self.first_shape, *block * self.depth, (self.width, self.output_dim)]
        stem, *inner, head = blocks.draw_weights(key, shapes, self.weight_scale, dtype)
        made = [
            {
                "w1": w1,
                "b1": jnp.zeros(self.inner, dtype),
                "w2": w2 * jnp.asarray(1 / math.sqrt(self.depth), dtype),
                "b2": jnp.zeros(self.width, dtype),
                **blocks.norm_parameters(self.normalization, self.width, dtype),
            }
            for w1, w2 in zip(inner[::2], inner[1::2], strict=True)
        ]
        params = {
            "stem": {"w": stem, "b": jnp.zeros(self.width, dtype)},
            "blocks": made,
            "head": {"w": head, "b": jnp.zeros(self.output_dim, dtype)},
        }
        return params, blocks.norm_stats(self.normalization, self.width, dtype) * self.depth

    def apply(
        self,
        params: Params,
        stats: tuple,
        x: Num[Array | np.ndarray, "batch features"],
        *,
        key: Key[Array, ""] | None = None,
        train: bool = False,
    ) -> tuple[Outputs, tuple]:
        """Compute the outputs of a batch; arguments, results and errors are those of `FCNet.apply`."""
        draws = self.dropout_keep_ratio is not None or self.depth_keep_ratio is not None
        blocks.check_inputs(self, x, key, train=train, draws=draws)
        stem, head = params["stem"], params["head"]
        x = layers.affine(jnp.asarray(x).astype(self.dtype), stem["w"], stem["b"])
        new_stats: tuple = ()
        for i, block in enumerate(params["blocks"]):
            keys = jax.random.split(jax.random.fold_in(key, i)) if train and draws else None
            branch, running = blocks.normalize(self, block, stats[i : i + 1], x, train=train)
            new_stats += running
            branch = blocks.activation(self.activation)(layers.affine(branch, block["w1"], block["b1"]))
            if keys is not None and self.dropout_keep_ratio is not None:
                branch = layers.dropout(branch, self.dropout_keep_ratio, keys[0])
            branch = layers.affine(branch, block["w2"], block["b2"])
            if keys is not None and self.depth_keep_ratio is not None:
                keep_ratio = 1 - (i + 1) / self.depth * (1 - self.depth_keep_ratio)
                branch = layers.stochastic_depth(branch, keep_ratio, keys[1])
            x = x + branch
        wide = wide_type(x)
        return layers.affine(x, head["w"], head["b"], None if wide == x.dtype else wide), new_stats

    def penalty(self, params: Params) -> Float[Array, ""] | None:
        r"""The L2 term $\tfrac\lambda2 \sum w^2$ over the weight matrices; None without one."""
        if self.reg is None:
            return None
        weights = [params["stem"]["w"], params["head"]["w"]]
        weights += [block[name] for block in params["blocks"] for name in ("w1", "w2")]
        return blocks.l2_penalties(weights, self.reg)

    def cost(self) -> Cost:
        """Parameters, and a row's operations and bytes of activations kept for the backward pass."""
        ends = self.input_dim * self.width + self.width * self.output_dim
        products = ends + self.depth * 2 * self.width * self.inner
        norm = blocks.norm_count(self.normalization)
        vectors = self.width + self.output_dim + self.depth * (self.inner + (1 + norm) * self.width)
        kept = 3 if self.dropout_keep_ratio is not None else 2
        units = self.width + self.output_dim + self.depth * (kept * self.inner + 2 * self.width)
        return Cost(products + vectors, 2 * products, units * self.dtype.itemsize)

    def rows(self) -> list[tuple[str, str, int]]:
        """The lines of the network's `summary`: layer, output, parameters."""
        width, norm = self.width, blocks.norm_count(self.normalization)
        parts = [self.normalization, f"affine to {self.inner}", blocks.activation_name(self.activation)]
        if self.dropout_keep_ratio is not None:
            parts.append(f"dropout (keep {float(self.dropout_keep_ratio):g})")
        if self.depth_keep_ratio is not None:
            parts.append(f"stochastic depth (keep {float(self.depth_keep_ratio):g})")
        block = 2 * width * self.inner + self.inner + (1 + norm) * width
        return [
            ("affine", f"(N, {width})", (self.input_dim + 1) * width),
            (f"{self.depth} times (+ {', '.join(filter(None, parts))}, affine)", f"(N, {width})", self.depth * block),
            ("affine", f"(N, {self.output_dim})", (width + 1) * self.output_dim),
        ]
