r"""Embeddings of numbers: what turns each column of a table into several inputs (Gorishniy et al., 2022).

"On Embeddings for Numerical Features in Tabular Deep Learning", https://arxiv.org/abs/2203.05556. A column has its own
frequencies, bins and weights; columns are written $f$, rows $i$.
"""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxfc.layers.common import wide_type
from jaxfc.layers.vjp import differentiable

Embedded = Float[Array, "batch columns entries"]


def periodic_forward(
    x: Float[Array, "batch columns"], frequencies: Float[Array, "columns waves"]
) -> tuple[Float[Array, "batch columns twice_waves"], tuple]:
    r"""Sines and cosines of each number, $y = [\sin a, \cos a]$ with $a_{ifk} = 2\pi\, c_{fk}\, x_{if}$.

    Args:
        x: numbers.
        frequencies: $c$, of each column's waves, in turns for each unit of `x`; learned.

    Raises:
        ValueError: the shapes do not fit.

    >>> out, cache = periodic_forward(jnp.array([[0.25]]), jnp.array([[1.0, 2.0]]))
    >>> print(out.round(3) + 0.0)
    [[[ 1.  0.  0. -1.]]]
    """
    wide = wide_type(x, frequencies)
    angles = 2 * math.pi * frequencies.astype(wide)[None] * x.astype(wide)[:, :, None]
    sines, cosines = jnp.sin(angles), jnp.cos(angles)
    return jnp.concatenate([sines, cosines], axis=2).astype(x.dtype), (x, frequencies, sines, cosines)


def periodic_backward(dout: Float[Array, "batch columns twice_waves"], cache: tuple) -> tuple[Array, Array]:
    r"""VJP of `periodic_forward`.

    With $ds$ and $dt$ the gradients of sines and cosines, $da = ds \cos a - dt \sin a$. An angle is a product of
    one number and one frequency, hence

    $$dx_{if} = 2\pi \sum_k c_{fk}\, da_{ifk}, \qquad dc_{fk} = 2\pi \sum_i x_{if}\, da_{ifk} .$$

    >>> _, cache = periodic_forward(jnp.zeros((1, 1)), jnp.array([[1.0]]))
    >>> print(periodic_backward(jnp.array([[[1.0, 0.0]]]), cache)[0] / math.pi)
    [[2.]]
    """
    x, frequencies, sines, cosines = cache
    of_sines, of_cosines = jnp.split(dout.astype(sines.dtype), 2, axis=2)
    dangles = 2 * math.pi * (of_sines * cosines - of_cosines * sines)
    dx = jnp.sum(frequencies.astype(sines.dtype)[None] * dangles, axis=2)
    dfrequencies = jnp.sum(x.astype(sines.dtype)[:, :, None] * dangles, axis=0)
    return dx.astype(x.dtype), dfrequencies.astype(frequencies.dtype)


def _check_periodic(x: Any, frequencies: Any) -> None:
    if jnp.ndim(x) != 2 or jnp.ndim(frequencies) != 2 or x.shape[1] != frequencies.shape[0]:
        raise ValueError(f"periodic: x {x.shape}, frequencies {frequencies.shape}; need (batch, f), (f, waves)")


periodic = differentiable(periodic_forward, periodic_backward, inputs=2, check=_check_periodic)


def piecewise_linear_forward(
    x: Float[Array, "batch columns"], edges: Float[Array, "columns edges"]
) -> tuple[Float[Array, "batch columns bins"], tuple]:
    r"""How far a number is through each of its column's bins, $y_{ift} = (x_{if} - b_{ft}) / (b_{f,t+1} - b_{ft})$.

    It is clipped to $[0, 1]$: 1 in the bins below the number, 0 in those above it; but in the first bin it may be
    less than 0 and in the last more than 1, so that numbers beyond the edges stay apart. A bin without width is 0.

    Args:
        x: numbers.
        edges: $b$, each column's, ascending; one more than there are bins. They are constants.

    Raises:
        ValueError: the shapes do not fit.

    >>> out, cache = piecewise_linear_forward(jnp.array([[0.5], [3.0]]), jnp.array([[0.0, 1.0, 2.0]]))
    >>> print(out[:, 0])
    [[0.5 0. ]
     [1.  2. ]]
    """
    wide = wide_type(x, edges)
    edges = edges.astype(wide)
    lower, width = edges[:, :-1], edges[:, 1:] - edges[:, :-1]
    slopes = jnp.where(width > 0, 1 / jnp.where(width > 0, width, 1), 0)
    through = (x.astype(wide)[:, :, None] - lower[None]) * slopes[None]
    bins = jnp.arange(edges.shape[1] - 1)
    least = jnp.where(bins == 0, -jnp.inf, jnp.zeros((), wide))[None, None]
    most = jnp.where(bins == len(bins) - 1, jnp.inf, jnp.ones((), wide))[None, None]
    # An input on an edge is in the bin above it, as everywhere else in the paper's equation.
    inside = (through >= least) & (through < most)
    return jnp.minimum(jnp.maximum(through, least), most).astype(x.dtype), (x, slopes, inside)


def piecewise_linear_backward(dout: Float[Array, "batch columns bins"], cache: tuple) -> Array:
    r"""VJP of `piecewise_linear_forward`.

    Within its bin $t$ a number moves $y_{ift}$ at $1 / (b_{f,t+1} - b_{ft})$, and elsewhere nothing:

    $$dx_{if} = \sum_t dy_{ift}\, \frac{[\,x_{if} \text{ in bin } t\,]}{b_{f,t+1} - b_{ft}} ,$$

    where beyond the edges a number counts as in the first or the last bin.

    >>> _, cache = piecewise_linear_forward(jnp.array([[0.5], [3.0]]), jnp.array([[0.0, 1.0, 3.0]]))
    >>> print(piecewise_linear_backward(jnp.ones((2, 1, 2)), cache).T)
    [[1.  0.5]]
    """
    x, slopes, inside = cache
    return jnp.sum(jnp.where(inside, dout.astype(slopes.dtype) * slopes[None], 0), axis=2).astype(x.dtype)


def _check_piecewise(x: Any, edges: Any) -> None:
    if jnp.ndim(x) != 2 or jnp.ndim(edges) != 2 or x.shape[1] != edges.shape[0] or edges.shape[1] < 2:
        raise ValueError(f"piecewise_linear: x {x.shape}, edges {edges.shape}; need (batch, f), (f, at least 2 edges)")


piecewise_linear = differentiable(piecewise_linear_forward, piecewise_linear_backward, check=_check_piecewise)


def columnwise_affine_forward(
    x: Embedded, w: Float[Array, "columns entries out"], b: Float[Array, "columns out"]
) -> tuple[Float[Array, "batch columns out"], tuple]:
    r"""An affine layer for each column, $y_{if} = x_{if} w_f + b_f$.

    Args:
        x: each column's entries.
        w: each column's weights; cast to the dtype of `x` for the product.
        b: each column's biases.

    Raises:
        ValueError: the shapes do not fit.

    >>> x, w, b = jnp.array([[[1.0], [2.0]]]), jnp.array([[[3.0]], [[4.0]]]), jnp.array([[0.5], [0.0]])
    >>> print(columnwise_affine_forward(x, w, b)[0][0].T)
    [[3.5 8. ]]
    """
    wide = wide_type(x)
    out = jnp.einsum("nfi,fio->nfo", x, w.astype(x.dtype), preferred_element_type=wide) + b.astype(wide)[None]
    return out.astype(x.dtype), (x, w, b)


def columnwise_affine_backward(dout: Float[Array, "batch columns out"], cache: tuple) -> tuple[Array, Array, Array]:
    r"""VJP of `columnwise_affine_forward`: that of the affine layer, column by column.

    $$dx_{if} = dy_{if}\, w_f^T, \qquad dw_f = \sum_i x_{if}^T\, dy_{if}, \qquad db_f = \sum_i dy_{if} .$$

    >>> x, w, b = jnp.array([[[1.0], [2.0]]]), jnp.array([[[3.0]], [[4.0]]]), jnp.zeros((2, 1))
    >>> dx, dw, db = columnwise_affine_backward(jnp.ones((1, 2, 1)), columnwise_affine_forward(x, w, b)[1])
    >>> print(dx[0].T, dw[:, 0].T, db.T)
    [[3. 4.]] [[1. 2.]] [[1. 1.]]
    """
    x, w, b = cache
    dy, wide = dout.astype(x.dtype), wide_type(x, w)
    dx = jnp.einsum("nfo,fio->nfi", dy, w.astype(x.dtype), preferred_element_type=wide_type(x))
    dw = jnp.einsum("nfi,nfo->fio", x, dy, preferred_element_type=wide)
    return dx.astype(x.dtype), dw.astype(w.dtype), jnp.sum(dout, axis=0, dtype=wide_type(dout)).astype(b.dtype)


def _check_columnwise(x: Any, w: Any, b: Any) -> None:
    if jnp.ndim(x) != 3 or jnp.ndim(w) != 3 or x.shape[1:] != w.shape[:2] or b.shape != (w.shape[0], w.shape[2]):
        raise ValueError(
            f"columnwise_affine: x {x.shape}, w {w.shape}, b {b.shape}; need (batch, f, in), (f, in, out), (f, out)"
        )


columnwise_affine = differentiable(
    columnwise_affine_forward, columnwise_affine_backward, inputs=3, check=_check_columnwise
)
