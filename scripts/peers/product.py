"""The machine's own rate of matrix products, the measure of what a training step could reach at most."""

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter

import jax
import jax.numpy as jnp
from jax import Array, lax

SQUARE = 2048
SQUARE_FLOPS = 2 * SQUARE**3

Factors = tuple[str, Array, Array]


def step_products(dims: tuple[int, ...], batch: int, dtype: str) -> tuple[list[Factors], int]:
    """Return each matrix product in a step of training, and the floating-point operations of them all.

    A product is its kind (which factor, if any, is transposed) and its factors. Forward `x w`; backward
    `xᵀ dy`, and `dy wᵀ` but for the first layer, whose input needs no gradient. In bfloat16 the factors are
    transposed beforehand: on a CPU, XLA has a fast product of that type for none that are not.
    """
    key = jax.random.key(0)
    products, flops = [], 0
    for i, (fan_in, fan_out) in enumerate(pairwise(dims)):
        shapes = ((batch, fan_in), (fan_in, fan_out), (batch, fan_out))
        x, w, dy = (_normal(jax.random.fold_in(key, 3 * i + j), shape, dtype) for j, shape in enumerate(shapes))
        dw, dx = (("tn", x, dy), ("nt", dy, w)) if dtype == "float32" else (("nn", x.T, dy), ("nn", dy, w.T))
        products += [("nn", x, w), dw] + ([dx] if i else [])
        flops += (2 + bool(i)) * 2 * batch * fan_in * fan_out
    return products, flops


def _normal(key: Array, shape: tuple[int, int], dtype: str) -> Array:
    return jax.random.normal(key, shape).astype(dtype)


def _multiply(kind: str, a: Array, b: Array) -> Array:
    a, b = a.T if kind == "tn" else a, b.T if kind == "nt" else b
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def repeated(products: list[Factors], times: int) -> Callable[[], Array]:
    """Compile a program that computes all products so many times, none of them hoisted, shared or left out."""
    kinds = [kind for kind, *_ in products]

    @jax.jit
    def program(factors: list[tuple[Array, Array]]) -> Array:
        def once(total: Array, _: None) -> tuple[Array, None]:
            # The factors pass a barrier together with what the last iteration left: they may not be
            # computed with before that is known. The products pass one before an entry of each is
            # taken: they may not be reduced to that entry.
            _, now = lax.optimization_barrier((total, factors))
            outs = lax.optimization_barrier([_multiply(kind, *pair) for kind, pair in zip(kinds, now, strict=True)])
            return total + sum(out[0, 0] for out in outs), None

        return lax.scan(once, jnp.float32(0), length=times)[0]

    compiled = program.lower(factors := [tuple(pair) for _, *pair in products]).compile()
    return lambda: compiled(factors)


class Product:
    """Measures both rates of a type: of a large square product, and of the very products of a step."""

    def __init__(self, dims: tuple[int, ...], batch: int, dtype: str, flops: float) -> None:
        square = [_normal(key, (SQUARE, SQUARE), dtype) for key in jax.random.split(jax.random.key(1))]
        step, self.step_flops = step_products(dims, batch, dtype)
        self.square = self._prepared([("nn", *square)], SQUARE_FLOPS, flops)
        self.step = self._prepared(step, self.step_flops, flops)

    def measure(self) -> dict[str, float]:
        """Return floating-point operations per second, `square` and `step`."""
        return {"square": self._rate(*self.square), "step": self._rate(*self.step)}

    def _prepared(self, products: list[Factors], flops: int, total: float) -> tuple[Callable[[], Array], int]:
        """Return a program that takes about so many operations in all, and their exact number."""
        times = max(1, round(total / flops))
        return repeated(products, times), times * flops

    def _rate(self, program: Callable[[], Array], flops: int) -> float:
        start = perf_counter()
        jax.block_until_ready(program())
        return flops / (perf_counter() - start)
