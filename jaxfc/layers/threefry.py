"""Random bits for what drops at random: the Threefry-2x32 generator, written so that it fuses with its use.

JAX's own generator produces its bits by a loop that the compiler can't fuse, which costs several times what
the mask itself does. Here every bit is a pure function of (key, row, column), the same on every device and for
every way of sharding the batch, and a row's mask doesn't depend on how many rows stand beside it.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Key, UInt16, UInt32

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = np.uint32(0x1BD11BDA)


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
    rows, columns = shape
    quarter = -(-columns // 4)
    words = jax.random.bits(key, (2,), jnp.uint32)
    counter = tuple(lax.broadcasted_iota(jnp.uint32, (rows, quarter), axis) for axis in (0, 1))
    # The words are kept: on a CPU, each quarter would otherwise compute all of them anew.
    x0, x1 = lax.optimization_barrier(threefry2x32((words[0], words[1]), counter))
    quarters = [half.astype(jnp.uint16) for x in (x0, x1) for half in (x, x >> np.uint32(16))]
    return jnp.concatenate(quarters, axis=1)[:, :columns]
