"""The matrix products of a step, each in the form that a processor multiplies fastest.

All sum in at least float32, and return that. On accelerators a product is a product. XLA's fast product for CPUs
takes both factors row by row, `(m, k) @ (k, n)`; what it is handed otherwise is multiplied by slower code:

- a transposed left factor, always: $x^T dy$ then takes twice its time;
- a transposed right factor in bfloat16, which is widened to float32 before it is multiplied.

So these factors are laid out in memory first. A processor with instructions for bfloat16 (see
`jaxfc.layers.precision`) then multiplies it at about twice the rate of float32.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from jaxfc.layers.common import wide_type

IN_CACHE = 2**15  # bytes: what fits the first-level cache is transposed in one go
BLOCK = 64  # the most columns of a block


def product(a: Float[Array, "m k"], b: Float[Array, "k n"], dtype: DTypeLike | None = None) -> Float[Array, "m n"]:
    r"""$ab$.

    Args:
        a: the left factor.
        b: the right one.
        dtype: the type of the sums and of the result; by default that of the factors, and at least float32.

    >>> product(jnp.ones((1, 2), jnp.bfloat16), jnp.ones((2, 1), jnp.bfloat16))
    Array([[2.]], dtype=float32)
    """
    if a.dtype == b.dtype == jnp.bfloat16:
        # In a population, the transposition that brings its members to the front would be folded into the product.
        a, b = lax.platform_dependent(a, b, cpu=_apart, default=lambda *factors: factors)
    return jnp.matmul(a, b, preferred_element_type=wide_type(a, b) if dtype is None else dtype)


def _apart(*factors: Array) -> tuple[Array, ...]:
    return lax.optimization_barrier(factors)


def product_tn(a: Float[Array, "k m"], b: Float[Array, "k n"], dtype: DTypeLike | None = None) -> Float[Array, "m n"]:
    r"""$a^T b$, as of a layer's inputs and the gradient of its outputs; see `product`.

    >>> product_tn(jnp.array([[1.0, 2.0]]), jnp.array([[3.0]]))
    Array([[3.],
           [6.]], dtype=float32)
    """
    (k, m), n = a.shape, b.shape[1]
    # The product itself stays outside of what depends on the platform, which would bring a population's members to
    # the front of it, wherever they are.
    if k * m <= k * n + m * n:
        return product(_transposed(a), b, dtype)
    # A narrow right factor and the result are less to transpose than the left factor is.
    out = product(_transposed(b), a, dtype)
    return lax.platform_dependent(out, cpu=lax.optimization_barrier, default=lambda out: out).T


def product_nt(a: Float[Array, "m k"], b: Float[Array, "n k"], dtype: DTypeLike | None = None) -> Float[Array, "m n"]:
    r"""$a b^T$, as of the gradient of a layer's outputs and its weights; see `product`.

    >>> product_nt(jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]]))
    Array([[11.]], dtype=float32)
    """
    return product(a, _transposed(b) if b.dtype == jnp.bfloat16 else b.T, dtype)


def column_sums(x: Float[Array, "rows columns"], dtype: DTypeLike | None = None) -> Float[Array, " columns"]:
    r"""$\sum_i x_{ij}$; on a TPU by its matrix unit, which adds columns up several times as fast as its vector unit.

    There, too, sums are exact to the last digits of `dtype`: each entry is multiplied by 1, in as many passes as its
    digits need.

    Args:
        x: what to add up.
        dtype: the type of the sums, by default that of `x` and at least float32.

    >>> print(column_sums(jnp.array([[1.0, 2.0], [3.0, 4.0]])))
    [4. 6.]
    """
    dtype = wide_type(x) if dtype is None else dtype
    return lax.platform_dependent(x, tpu=partial(_sums_by_product, dtype), default=partial(_sums, dtype))


def _sums(dtype: DTypeLike, x: Array) -> Array:
    return jnp.sum(x, axis=0, dtype=dtype)


def _sums_by_product(dtype: DTypeLike, x: Array) -> Array:
    # Of a product with a single row of ones, the compiler would make a plain sum again.
    ones = jnp.ones((2, len(x)), x.dtype)
    return jnp.matmul(ones, x, precision=lax.Precision.HIGHEST, preferred_element_type=dtype)[0]


def _transposed(x: Array) -> Array:
    return lax.platform_dependent(x, cpu=laid_out, default=jnp.transpose)


def laid_out(x: Float[Array, "rows columns"]) -> Float[Array, "columns rows"]:
    r"""$x^T$, as an array in memory of its own that the compiler does not fold into a product.

    A large one in two steps: blocks of columns, then each block's transposition. Each step reads or writes whole
    cache lines; one that went down a column of a matrix with a power of two of columns would meet the same few sets
    of the cache over and over.

    >>> laid_out(jnp.ones((512, 3072))).shape
    (3072, 512)
    """
    rows, columns = x.shape
    width = max(n for n in range(1, BLOCK + 1) if columns % n == 0)
    if x.size * x.dtype.itemsize <= IN_CACHE or width < 8:
        return lax.optimization_barrier(x.T)
    blocks = lax.optimization_barrier(x.reshape(rows, columns // width, width).transpose(1, 0, 2))
    return lax.optimization_barrier(blocks.transpose(0, 2, 1).reshape(columns, rows))
