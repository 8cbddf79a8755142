r"""Adam and its kin, and where their weight decay acts.

Below, $w$ is a parameter, $g$ its gradient, $\eta$ the learning rate, $\lambda$ the weight decay.
"""

from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxfc.optim.contract import Rule, as_rule
from jaxfc.optim.hyper import Hyper, Number, numbers, on_device
from jaxfc.optim.leaves import Predicate, Tree, each, everything, matrices, zeros


class AdamState(NamedTuple):
    """State of `adam` and `adamw`; `weight_decay` is 0 in the former.

    >>> state = adam.init({"w": jnp.ones(2)}, learning_rate=0.5)
    >>> state = state._replace(learning_rate=state.learning_rate / 2)
    >>> print(state.learning_rate, state.step, state.m["w"])
    0.25 0 [0. 0.]
    """

    learning_rate: Number
    beta1: Number
    beta2: Number
    epsilon: Number
    weight_decay: Number
    step: Int[Array, ""]
    m: Tree
    v: Tree


def _adamw_init(
    params: Tree,
    learning_rate: Hyper = 1e-3,
    beta1: Hyper = 0.9,
    beta2: Hyper = 0.999,
    epsilon: Hyper = 1e-8,
    weight_decay: Hyper = 1e-2,
) -> AdamState:
    hyper = numbers(learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)
    return AdamState(*hyper, on_device(0, jnp.int32), zeros(params), zeros(params))


def _adam_init(
    params: Tree, learning_rate: Hyper = 1e-3, beta1: Hyper = 0.9, beta2: Hyper = 0.999, epsilon: Hyper = 1e-8
) -> AdamState:
    return _adamw_init(params, learning_rate, beta1, beta2, epsilon, weight_decay=0.0)


def _adam_update(
    params: Tree, grads: Tree, state: AdamState, decays: Predicate | None = None
) -> tuple[Tree, AdamState]:
    step = state.step + 1
    wide = state.beta1.dtype
    # Both bias corrections in two scalars: a division less for each entry.
    lr = state.learning_rate / (1 - state.beta1 ** step.astype(wide))
    rescale = 1 / (1 - state.beta2 ** step.astype(wide))
    shrink = state.learning_rate * state.weight_decay

    def update(w, g, m, v, lr, b1, b2, eps, rescale, shrink, decayed=False):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        new = w - lr * m / (jnp.sqrt(v * rescale) + eps)
        return new - shrink * w if decayed else new, m, v

    hyper = {"lr": lr, "b1": state.beta1, "b2": state.beta2, "eps": state.epsilon, "rescale": rescale, "shrink": shrink}
    traits = {} if decays is None else {"decayed": decays}
    params, m, v = each(update, params, grads, state.m, state.v, traits=traits, **hyper)
    return params, state._replace(step=step, m=m, v=v)


@as_rule(_adam_init, ignores_zeros=True)
def adam(params: Tree, grads: Tree, state: AdamState) -> tuple[Tree, AdamState]:
    r"""Adam with bias correction (Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980).

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
      w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon} .$$

    Hyper-parameters: `learning_rate` 1e-3, `beta1` 0.9, `beta2` 0.999, `epsilon` $\epsilon$ 1e-8.

    >>> params, grads = {"w": jnp.array(1.0)}, {"w": jnp.array(4.0)}
    >>> params, state = adam(params, grads, adam.init(params, learning_rate=0.5))
    >>> print(f"{params['w']:.3f}", state.step)
    0.500 1
    """
    return _adam_update(params, grads, state)


@as_rule(_adamw_init, decays=matrices, ignores_zeros=True)
def adamw(params: Tree, grads: Tree, state: AdamState, decays: Predicate) -> tuple[Tree, AdamState]:
    r"""Adam with decoupled weight decay (Loshchilov and Hutter, 2017, https://arxiv.org/abs/1711.05101).

    Adam's update, and $-\eta \lambda w$ beside it on matrices; see `decaying` for other parameters.

    Hyper-parameters: those of `adam`, and `weight_decay` $\lambda$ 1e-2.

    >>> params, grads = {"w": jnp.ones((1, 1)), "b": jnp.ones(1)}, {"w": jnp.zeros((1, 1)), "b": jnp.zeros(1)}
    >>> params, state = adamw(params, grads, adamw.init(params, learning_rate=0.5, weight_decay=0.5))
    >>> print(params["w"], params["b"])
    [[0.75]] [1.]
    """
    return _adam_update(params, grads, state, decays)


class LionState(NamedTuple):
    """State of `lion`.

    >>> print(lion.init({"w": jnp.ones(2)}).m["w"])
    [0. 0.]
    """

    learning_rate: Number
    beta1: Number
    beta2: Number
    weight_decay: Number
    m: Tree


def _lion_init(
    params: Tree, learning_rate: Hyper = 1e-4, beta1: Hyper = 0.9, beta2: Hyper = 0.99, weight_decay: Hyper = 1e-3
) -> LionState:
    hyper = numbers(learning_rate=learning_rate, beta1=beta1, beta2=beta2, weight_decay=weight_decay)
    return LionState(*hyper, zeros(params))


@as_rule(_lion_init, decays=matrices, ignores_zeros=True)
def lion(params: Tree, grads: Tree, state: LionState, decays: Predicate) -> tuple[Tree, LionState]:
    r"""Lion (Chen et al., 2023, https://arxiv.org/abs/2302.06675): steps of one size, by the sign alone.

    $$w \leftarrow w - \eta \left(\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w\right), \quad
      m \leftarrow \beta_2 m + (1 - \beta_2) g .$$

    The decay acts on matrices; see `decaying` for other parameters.

    Hyper-parameters: `learning_rate` 1e-4, `beta1` 0.9, `beta2` 0.99, `weight_decay` $\lambda$ 1e-3.

    >>> params, grads = {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([4.0, -0.1])}
    >>> params, state = lion(params, grads, lion.init(params, learning_rate=0.5, weight_decay=0.0))
    >>> print(params["w"])
    [0.5 1.5]
    """

    def update(w, g, m, lr, b1, b2, decay, decayed):
        direction = jnp.sign(b1 * m + (1 - b1) * g)
        direction = direction + decay * w if decayed else direction
        return w - lr * direction, b2 * m + (1 - b2) * g

    hyper = {"lr": state.learning_rate, "b1": state.beta1, "b2": state.beta2, "decay": state.weight_decay}
    params, m = each(update, params, grads, state.m, traits={"decayed": decays}, **hyper)
    return params, state._replace(m=m)


def decaying(rule: Rule, where: Predicate) -> Rule:
    """Return a rule whose weight decay acts on other parameters than matrices.

    Args:
        rule: one with decoupled weight decay: `adamw`, `lion`, `muon`.
        where: whether it acts on a parameter, told by its path (such as `"0.w"`) and the parameter:
            `everything`, `matrices`, or a function of one's own.

    Raises:
        ValueError: the rule has no decoupled weight decay.

    >>> from jaxfc.optim import everything
    >>> rule = decaying(adamw, everything)
    >>> rule.name, rule == decaying(adamw, everything)
    ('adamw(everything)', True)
    >>> params = {"b": jnp.ones(1)}
    >>> params, _ = rule(params, {"b": jnp.zeros(1)}, rule.init(params, learning_rate=0.5, weight_decay=0.5))
    >>> print(params["b"])
    [0.75]
    """
    if rule.decays is None:
        raise ValueError(f"{rule.name} has no decoupled weight decay: use adamw, lion or muon")
    # The name says where it decays, so that whatever is written of a run says so too.
    name, _, _ = rule.name.partition("(")
    name = f"{name}({getattr(where, '__name__', where)})"
    # A function of one's own may look at paths and shapes, which padding changes.
    return replace(rule, name=name, decays=where, ignores_zeros=rule.ignores_zeros and where in (matrices, everything))
