r"""Checks of hand-written VJPs, against autodiff and against centred differences, in float64.

The relative error of two numbers is $|a - b| / \max(f, |a| + |b|)$, as in the CS231n notes
(https://cs231n.github.io/neural-networks-3/#gradcheck); a check reports the worst entry's. The floor
$f$ is $10^{-8}$ against autodiff. A centred difference carries rounding noise of about
$10^{-16} / h = 10^{-11}$, in entries that should be 0 as well, so there the floor is $10^{-4}$.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxfc import layers, network
from jaxfc.errors import check_number
from jaxfc.vjp import plain_autodiff

AUTODIFF_TOLERANCE = 1e-10
NUMERICAL_TOLERANCE = 1e-6
STEP = 1e-5
AUTODIFF_FLOOR = 1e-8
NUMERICAL_FLOOR = 1e-4


class Row(NamedTuple):
    """One input's gradient, compared: relative errors of the worst entry."""

    layer: str
    input: str
    shape: tuple[int, ...]
    autodiff: float
    numerical: float

    @property
    def passed(self) -> bool:
        """Whether both errors are within tolerance."""
        return self.autodiff <= AUTODIFF_TOLERANCE and self.numerical <= NUMERICAL_TOLERANCE


def relative_error(a: Float[Array, "..."], b: Float[Array, "..."], floor: float = AUTODIFF_FLOOR) -> float:
    """The greatest relative error of two arrays' entries."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.max(np.abs(a - b) / np.maximum(floor, np.abs(a) + np.abs(b)), initial=0.0))


def numerical_vjp(f: Callable, args: tuple[Array, ...], dout: Array, step: float = STEP) -> tuple[Array, ...]:
    r"""VJP by centred differences, $\sum_j dy_j \frac{f_j(x + h e_i) - f_j(x - h e_i)}{2h}$ for each entry $i$."""

    def along(which: int, direction: Array) -> Array:
        shifted = [tuple(a + s * direction if i == which else a for i, a in enumerate(args)) for s in (step, -step)]
        return jnp.sum(dout * (f(*shifted[0]) - f(*shifted[1]))) / (2 * step)

    gradients = []
    for which, arg in enumerate(args):
        basis = jnp.eye(arg.size, dtype=arg.dtype).reshape(arg.size, *arg.shape)
        gradients.append(jax.vmap(lambda direction, which=which: along(which, direction))(basis).reshape(arg.shape))
    return tuple(gradients)


def check(layer: str, f: Callable, inputs: dict[str, Array]) -> list[Row]:
    """Compare the VJP of `f(*inputs)` with both others, for every input, at a drawn cotangent."""

    @jax.jit
    def gradients(args: tuple[Array, ...]) -> list[tuple[Array, ...]]:
        out, hand = jax.vjp(f, *args)
        dout = jax.random.normal(jax.random.key(len(layer)), out.shape, out.dtype)
        with plain_autodiff():
            _, automatic = jax.vjp(f, *args)
        return list(zip(hand(dout), automatic(dout), numerical_vjp(f, args, dout), strict=True))

    compared = gradients(tuple(inputs.values()))
    return [
        Row(layer, name, value.shape, relative_error(mine, auto), relative_error(mine, numerical, NUMERICAL_FLOOR))
        for (name, value), (mine, auto, numerical) in zip(inputs.items(), compared, strict=True)
    ]


def check_layers(seed: int = 0) -> list[Row]:
    """Check every layer and one whole network, in float64 whatever the process's setting."""
    check_number("seed", seed, low=0)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        return [row for name, (f, inputs) in _cases(seed).items() for row in check(name, f, inputs)]


def table(rows: list[Row]) -> str:
    """A table of relative errors, with a verdict for each row."""
    lines = [f"{'layer':<16} {'input':<8} {'shape':<10} {'vs autodiff':>12} {'vs numerical':>13}"]
    for row in rows:
        verdict = "ok" if row.passed else "FAILED"
        lines.append(
            f"{row.layer:<16} {row.input:<8} {row.shape!s:<10} {row.autodiff:>12.1e} {row.numerical:>13.1e}  {verdict}"
        )
    lines.append(
        f"relative errors of the worst entry, float64; limits {AUTODIFF_TOLERANCE:g} and {NUMERICAL_TOLERANCE:g}: "
        f"{sum(row.passed for row in rows)} of {len(rows)} passed"
    )
    return "\n".join(lines)


def _cases(seed: int) -> dict[str, tuple[Callable, dict[str, Array]]]:
    """Each layer as a function of its inputs alone, with values to check it at."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> Array:
        return jnp.asarray(generator.normal(size=shape))

    def away_from_zero(*shape: int) -> Array:
        """Values that a centred difference does not carry over a kink at 0."""
        x = draw(*shape)
        return jnp.where(x >= 0, x + 0.01, x - 0.01)

    x, y = draw(7, 5), jnp.arange(7) % 4
    vectors = {"gamma": draw(5), "beta": draw(5)}
    running = (draw(5), jnp.square(draw(5)) + 0.5)
    scores, weights = {"scores": draw(7, 4)}, jnp.abs(draw(7))
    cases: dict[str, tuple[Callable, dict[str, Array]]] = {
        "affine": (layers.affine, {"x": x, "w": draw(5, 3), "b": draw(3)}),
        "batchnorm": (lambda *a: layers.batchnorm(*a, *running)[0], {"x": x, **vectors}),
        "batchnorm_test": (lambda *a: layers.batchnorm_test(*a, *running), {"x": x, **vectors}),
        "layernorm": (layers.layernorm, {"x": x, **vectors}),
        "dropout": (lambda x: layers.dropout(x, 0.6, jax.random.key(seed)), {"x": x}),
        "softmax_loss": (lambda s: layers.softmax_loss(s, y, weights, 0.1), scores),
        "svm_loss": (lambda s: layers.svm_loss(s, y, weights), scores),
        "l2_penalty": (lambda w: layers.l2_penalty(w, 0.3), {"w": draw(5, 3)}),
    }
    cases |= {name: (f, {"x": away_from_zero(7, 5)}) for name, f in layers.ACTIVATIONS.items()}
    cases["network"] = _network_case(jax.random.key(seed), x, y)
    return cases


def _network_case(key: Any, x: Array, y: Array) -> tuple[Callable, dict[str, Array]]:
    # Not batchnorm, which is checked above: biases before it have gradient 0, and no relative error.
    net = network.FCNet(5, (6, 4), 4, "layernorm", "tanh", reg=0.1, param_dtype="float64")
    params, stats = network.init(net, key)
    paths, structure = jax.tree_util.tree_flatten_with_path(params)

    def loss(*leaves: Array) -> Array:
        return network.loss(net, jax.tree.unflatten(structure, leaves), stats, x, y)[0]

    return loss, {f"{path[1].key}{path[0].idx + 1}": value for path, value in paths}
