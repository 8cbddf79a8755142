"""Random bits for what drops at random: the Threefry-2x32 generator, written so that it fuses with its use.

JAX's own generator produces its bits by a loop that the compiler can't fuse, which costs several times what
the mask itself does. Here every bit is a pure function of (key, row, column), the same on every device and for
every way of sharding the batch, and a row's mask doesn't depend on how many rows stand beside it.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Key, UInt16, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)
HALF = np.uint32(0xFFFF)


def threefry2x32(key: tuple, counter: tuple, *, rounds: int = 20) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Encrypt two 32-bit counters under two 32-bit keys; the results are uniform and independent.

    Args:
        key: two uint32 scalars.
        counter: two uint32 arrays of one shape.
        rounds: 20 is the number its authors recommend.

    >>> zero = jnp.uint32(0)
    >>> [hex(word) for word in threefry2x32((zero, zero), (zero, zero))]
    ['0x6b200159', '0x99ba4efe']
    """
    key = (*key, key[0] ^ key[1] ^ PARITY)
    x0, x1 = counter[0] + key[0], counter[1] + key[1]
    for i in range(rounds):
        rotation = ROTATIONS[i // 4 % 2][i % 4]
        x0 = x0 + x1
        x1 = ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))) ^ x0
        if i % 4 == 3:
            injection = i // 4 + 1
            x0 = x0 + key[injection % 3]
            x1 = x1 + key[(injection + 1) % 3] + np.uint32(injection)
    return x0, x1


def bits16(key: Key[Array, ""], shape: tuple[int, int]) -> UInt16[Array, "rows columns"]:
    """Uniform 16-bit integers of a `(rows, columns)` shape, from a JAX key of any kind.

    One call of the generator yields four of them, for four columns a quarter of the width apart.

    >>> few, many = (bits16(jax.random.key(0), (rows, 5)) for rows in (2, 20))
    >>> few.shape, bool((few == many[:2]).all())
    ((2, 5), True)
    """
    return _bits16(*_words(key), shape)


def bits16_below(key: Key[Array, ""], shape: tuple[int, int], limit: UInt32[Array, ""]) -> Bool[Array, "rows columns"]:
    """Where `bits16` are below a limit between 0 and 65536: the same entries on every device.

    >>> below = bits16_below(jax.random.key(0), (2, 5), jnp.uint32(20000))
    >>> bool((below == (bits16(jax.random.key(0), (2, 5)) < 20000)).all())
    True
    """
    forms = {"tpu": partial(_below_by_quarters, shape), "default": partial(_below_by_bits, shape)}
    return lax.platform_dependent(*_words(key), limit, **forms)


def _below_by_bits(shape: tuple[int, int], first: Array, second: Array, limit: Array) -> Bool[Array, "rows columns"]:
    return _bits16(first, second, shape).astype(jnp.uint32) < limit


def _below_by_quarters(
    shape: tuple[int, int], first: Array, second: Array, limit: Array
) -> Bool[Array, "rows columns"]:
    # Quarters that are compared already a TPU joins while it multiplies what the mask is for. Else it would write first
    # the integers to memory, then the joined mask.
    words = threefry2x32((first, second), _counters(shape, split=False))
    parts = [part < limit for word in words for part in (word & HALF, word >> np.uint32(16))]
    return jnp.concatenate(parts, axis=1)[:, : shape[1]]


def _words(key: Key[Array, ""]) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    return first, second


def _bits16(first: Array, second: Array, shape: tuple[int, int]) -> UInt16[Array, "rows columns"]:
    # The words are kept: on a CPU, each quarter would otherwise compute all of them anew.
    words = lax.optimization_barrier(threefry2x32((first, second), _counters(shape)))
    quarters = [half.astype(jnp.uint16) for word in words for half in (word, word >> np.uint32(16))]
    return jnp.concatenate(quarters, axis=1)[:, : shape[1]]


def _counters(shape: tuple[int, int], *, split: bool = True) -> tuple[UInt32[Array, "rows quarter"], ...]:
    """Row and column of each call of the generator.

    Of what depends on one of them alone, the compiler makes vectors, whose every step is a kernel of its own on a TPU.
    Unless that may be split off, either depends on both: on the other's topmost bit, which is 0.
    """
    rows, columns = (lax.broadcasted_iota(jnp.uint32, (shape[0], -(-shape[1] // 4)), axis) for axis in (0, 1))
    return (rows, columns) if split else (rows | columns >> np.uint32(31), columns | rows >> np.uint32(31))
