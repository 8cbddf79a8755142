r"""Muon: steps along the momentum of a matrix made orthogonal.

Below, $W$ is a matrix of parameters, $G$ its gradient, $\eta$ the learning rate, $\lambda$ the weight decay.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int

from jaxfc.layers.precision import fast_type
from jaxfc.layers.products import product, product_nt
from jaxfc.optim.contract import as_rule
from jaxfc.optim.hyper import Hyper, Number, numbers, on_device
from jaxfc.optim.leaves import Predicate, Tree, each, matrices, wide, zeros

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalize(
    matrix: Float[Array, "rows columns"], epsilon: Hyper = 1e-8, product_type: DTypeLike | None = None
) -> Float[Array, "rows columns"]:
    r"""Bring a matrix's singular values near to 1 and leave its singular vectors: from $U S V^\top$ towards $U V^\top$.

    Five Newton-Schulz iterations from $X = G / (\|G\|_F + \epsilon)$, whose singular values are in [0, 1]:

    $$X \leftarrow a X + b X X^\top X + c (X X^\top)^2 X, \qquad (a, b, c) = (3.4445, -4.7750, 2.0315) .$$

    Each applies $a s + b s^3 + c s^5$ to every singular value $s$. The coefficients raise small ones
    fastest and bring most to between 0.7 and 1.2; they do not converge to 1, and training does not mind
    (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/).

    Args:
        matrix: $G$.
        epsilon: $\epsilon$.
        product_type: of the products' factors, by default the matrix's; what is summed up of them stays wider.

    >>> x = orthogonalize(jnp.array([[3.0, 0.0], [0.0, -0.5]]))
    >>> print(jnp.round(x, 1))
    [[ 0.7  0. ]
     [ 0.  -1. ]]
    """
    rows, columns = matrix.shape
    if rows > columns:  # the products are of the shorter side
        return orthogonalize(matrix.T, epsilon, product_type).T
    norm = jnp.sqrt(jnp.sum(jnp.square(matrix.astype(wide(matrix)))))
    x = matrix.astype(norm.dtype) / (norm + epsilon)
    narrow = matrix.dtype if product_type is None else product_type
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        factor = x.astype(narrow)
        square = product_nt(factor, factor)
        again = square.astype(narrow)
        x = a * x + product((b * square + c * product(again, again)).astype(narrow), factor)
    return x.astype(matrix.dtype)


class MuonState(NamedTuple):
    """State of `muon`: `m` is the mean gradient, `v` the mean squared gradient of all but matrices.

    >>> state = muon.init({"w": jnp.ones((2, 3)), "b": jnp.ones(3)})
    >>> print(state.momentum, state.v)
    0.95 {'b': Array([0., 0., 0.], dtype=float32), 'w': None}
    """

    learning_rate: Number
    momentum: Number
    beta1: Number
    beta2: Number
    epsilon: Number
    weight_decay: Number
    step: Int[Array, ""]
    m: Tree
    v: Tree


def _muon_init(
    params: Tree,
    learning_rate: Hyper = 2e-2,
    momentum: Hyper = 0.95,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 0.0,
) -> MuonState:
    hyper = numbers(
        learning_rate=learning_rate,
        momentum=momentum,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    others = jax.tree.map(lambda p: None if p.ndim == 2 else p, params)
    return MuonState(*hyper, on_device(0, jnp.int32), zeros(params), zeros(others))


@as_rule(_muon_init, decays=matrices)
def muon(params: Tree, grads: Tree, state: MuonState, decays: Predicate) -> tuple[Tree, MuonState]:
    r"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/).

    Steepest descent where a step's length is its spectral norm (Bernstein and Newhouse, 2024,
    https://arxiv.org/abs/2409.20325): each matrix moves along its momentum made orthogonal, see
    `orthogonalize`. Nesterov's momentum with bias correction,

    $$M \leftarrow \mu M + (1 - \mu) G, \quad
      \hat M = \frac{\mu M}{1 - \mu^{t+1}} + \frac{(1 - \mu) G}{1 - \mu^t}, \quad
      W \leftarrow W - \eta \left(\sqrt{\max(1, \mathrm{out} / \mathrm{in})}\;
        \mathrm{orthogonalize}(\hat M) + \lambda W\right) .$$

    All but matrices have Adam's update with that same $\hat m$ (NAdam; Dozat, 2016). Products of
    matrices run in the parameters' type; those of `muon_bfloat16` in bfloat16.

    Hyper-parameters: `learning_rate` 2e-2, `momentum` $\mu$ 0.95, `weight_decay` $\lambda$ 0; and
    `beta1` 0.9 (in place of $\mu$), `beta2` 0.999 of what is no matrix; `epsilon` 1e-8 of both.

    >>> params, grads = {"w": jnp.eye(2)}, {"w": jnp.diag(jnp.array([4.0, -0.1]))}
    >>> params, state = muon(params, grads, muon.init(params, learning_rate=0.5))
    >>> print(jnp.round(params["w"], 1))
    [[0.7 0. ]
     [0.  1.5]]
    """
    return _steps(params, grads, state, decays, None)


@as_rule(_muon_init, decays=matrices)
def muon_bfloat16(params: Tree, grads: Tree, state: MuonState, decays: Predicate) -> tuple[Tree, MuonState]:
    """`muon` with products of bfloat16 factors, as its authors have it: what `compute_dtype="bfloat16"` asks for.

    Singular values come as near to 1 as they do in float32. Where the processor has no instructions for bfloat16,
    products run in the parameters' type; see `jaxfc.layers.precision`.

    >>> params, grads = {"w": jnp.eye(2)}, {"w": jnp.diag(jnp.array([4.0, -0.1]))}
    >>> params, state = muon_bfloat16(params, grads, muon_bfloat16.init(params, learning_rate=0.5))
    >>> print(jnp.round(params["w"], 1))
    [[0.7 0. ]
     [0.  1.5]]
    """
    return _steps(params, grads, state, decays, "bfloat16")


def _steps(
    params: Tree, grads: Tree, state: MuonState, decays: Predicate, product_type: str | None
) -> tuple[Tree, MuonState]:
    """A step of each parameter."""

    def update(w, g, m, v, lr, mu, b1, b2, eps, decay, t, decayed, stored):
        mu = mu if w.ndim == 2 else b1
        m = mu * m + (1 - mu) * g
        ahead = mu / (1 - mu ** (t + 1)) * m + (1 - mu) / (1 - mu**t) * g
        if w.ndim == 2:
            rows, columns = w.shape
            direction = orthogonalize(ahead.astype(stored), eps, fast_type(product_type, stored)).astype(w.dtype)
            direction = math.sqrt(max(1, columns / rows)) * direction
        else:
            v = b2 * v + (1 - b2) * g * g
            direction = ahead / (jnp.sqrt(v / (1 - b2**t)) + eps)
        direction = direction + decay * w if decayed else direction
        return w - lr * direction, m, v

    step = state.step + 1
    hyper = {"lr": state.learning_rate, "mu": state.momentum, "b1": state.beta1, "b2": state.beta2}
    hyper |= {"eps": state.epsilon, "decay": state.weight_decay, "t": step}
    traits = {"decayed": decays, "stored": _stored}
    params, m, v = each(update, params, grads, state.m, state.v, traits=traits, **hyper)
    return params, state._replace(step=step, m=m, v=v)


def _stored(path: str, p: Any) -> jnp.dtype:
    return p.dtype if p.dtype == jnp.bfloat16 else wide(p)
