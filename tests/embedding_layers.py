"""The layers that embed a table's numbers, with their naive twins and drawn arguments; see test_layers."""

import jax.numpy as jnp
import naive
import numpy as np

from jaxfc import layers


def cases(seed):
    """Each layer as `name: (function, naive twin, differentiated arguments)`, shapes and values drawn."""
    rng = np.random.default_rng(seed)
    n, d, k, c = (int(v) for v in rng.integers([2, 1, 1, 2], [9, 8, 8, 7]))

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    x, edges = draw(n, d), np.sort(rng.normal(size=(d, k + 1)), axis=1)
    if k > 2:
        edges[:, -2] = edges[:, -1]  # a bin without width
    return {
        "columnwise_affine": (
            layers.columnwise_affine,
            naive.columnwise_affine,
            (draw(n, d, k), draw(d, k, c), draw(d, c)),
        ),
        "periodic": (layers.periodic, naive.periodic, (x, 0.2 * draw(d, k))),
        "piecewise_linear": (
            lambda x: layers.piecewise_linear(x, jnp.asarray(edges)),
            lambda x: naive.piecewise_linear(x, edges),
            (x,),
        ),
    }
