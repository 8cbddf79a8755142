"""Update rules, against optax, plain NumPy and the CS231n assignment's numbers."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxfc import optim
from jaxfc.schedules import Schedule, Scheduled


def tree(seed):
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 6, size=4)
    return [
        {"w": jnp.asarray(rng.normal(size=(a, b))), "b": jnp.asarray(rng.normal(size=b))}
        for a, b in itertools.pairwise(widths)
    ]


PEERS = {
    "sgd": ({"learning_rate": 0.1}, lambda: optax.sgd(0.1)),
    "sgd_momentum": ({"learning_rate": 0.1, "momentum": 0.8}, lambda: optax.sgd(0.1, momentum=0.8)),
    "nesterov": ({"learning_rate": 0.1, "momentum": 0.8}, lambda: optax.sgd(0.1, momentum=0.8, nesterov=True)),
    "adagrad": (
        {"learning_rate": 0.1, "epsilon": 0.0},
        lambda: optax.adagrad(0.1, initial_accumulator_value=0.0, eps=0.0),
    ),
    "rmsprop": (
        {"learning_rate": 0.01, "decay_rate": 0.95, "epsilon": 1e-6},
        lambda: optax.rmsprop(0.01, decay=0.95, eps=1e-6, eps_in_sqrt=False),
    ),
    "adam": (
        {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
        lambda: optax.adam(0.01, b1=0.8, b2=0.99, eps=1e-6),
    ),
    "adamw": ({"learning_rate": 0.01, "weight_decay": 0.03}, lambda: optax.adamw(0.01, weight_decay=0.03)),
    "lion": (
        {"learning_rate": 0.01, "weight_decay": 0.03},
        lambda: optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.03),
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", optim.RULES)
def test_equals_optax_over_100_steps(name):
    hyper, make = PEERS[name]
    rule, peer, params = optim.RULES[name], make(), tree(0)
    grads = jax.tree.map(lambda p: jnp.asarray(np.random.default_rng(1).normal(size=(100, *p.shape))), params)

    def mine(carry, grads):
        return rule(carry[0], grads, carry[1]), None

    def theirs(carry, grads):
        updates, state = peer.update(grads, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    (got, _), _ = jax.jit(lambda: jax.lax.scan(mine, (params, rule.init(params, **hyper)), grads))()
    (expected, _), _ = jax.jit(lambda: jax.lax.scan(theirs, (params, peer.init(params)), grads))()
    chex.assert_trees_all_close(got, expected, rtol=1e-10, atol=1e-10)


# The CS231n assignment's checks: 20 numbers in, 20 numbers out.
SHAPE = (4, 5)
W, DW = np.linspace(-0.4, 0.6, 20).reshape(SHAPE), np.linspace(-0.6, 0.4, 20).reshape(SHAPE)
ASSIGNMENT = {
    "sgd_momentum": (
        {"learning_rate": 1e-3},
        {"velocity": np.linspace(0.6, 0.9, 20)},
        [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
        {"velocity": [0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158]},
    ),
    "rmsprop": (
        {"learning_rate": 1e-2},
        {"cache": np.linspace(0.6, 0.9, 20)},
        [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247],
        {"cache": [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321]},
    ),
    "adam": (
        {"learning_rate": 1e-2},
        {"m": np.linspace(0.6, 0.9, 20), "v": np.linspace(0.7, 0.5, 20), "step": np.int32(5)},
        [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
        {"m": [0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474], "v": [0.69966, 0.68908382, 0.67851319]},
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ASSIGNMENT)
def test_gives_the_assignments_numbers(name):
    hyper, slots, expected, expected_slots = ASSIGNMENT[name]
    rule, w = optim.RULES[name], jnp.asarray(W)
    slots = {k: jnp.asarray(v if np.ndim(v) == 0 else v.reshape(SHAPE)) for k, v in slots.items()}
    w, state = rule(w, jnp.asarray(DW), rule.init(w, **hyper)._replace(**slots))
    np.testing.assert_allclose(w[0], expected, rtol=1e-6)
    for slot, values in expected_slots.items():
        np.testing.assert_allclose(getattr(state, slot)[0, : len(values)], values, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_adagrad_with_epsilon_beside_the_root():
    w, c = W.copy(), np.zeros(SHAPE)
    params, state = jnp.asarray(W), optim.adagrad.init(jnp.asarray(W), learning_rate=0.1, epsilon=1e-3)
    for i in range(5):
        c += (DW * i) ** 2
        w -= 0.1 * DW * i / (np.sqrt(c) + 1e-3)
        params, state = optim.adagrad(params, jnp.asarray(DW * i), state)
    np.testing.assert_allclose(params, w, rtol=1e-12)


@pytest.mark.parametrize("name", optim.RULES)
def test_changing_a_hyper_parameter_compiles_nothing(name, compilations):
    rule, params = optim.RULES[name], {"w": jnp.ones(3)}
    step = jax.jit(rule)
    first, _ = step(params, params, rule.init(params, learning_rate=0.1))
    state = rule.init(params, learning_rate=0.2)
    compilations.clear()
    second, _ = step(params, params, state)
    assert not compilations
    assert (first["w"] != second["w"]).all()


@pytest.mark.parametrize("name", optim.RULES)
def test_parameters_keep_their_dtype_and_slots_are_float32(name):
    rule, params = optim.RULES[name], {"w": jnp.ones(3, jnp.bfloat16)}
    new, state = rule(params, params, rule.init(params))
    assert new["w"].dtype == jnp.bfloat16
    slots = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert {leaf.dtype.name for leaf in slots} <= {"float32"}


@pytest.mark.usefixtures("x64")
def test_clipping_equals_optax():
    grads, peer = tree(0), optax.clip_by_global_norm(1.5)
    np.testing.assert_allclose(optim.global_norm(grads), optax.tree.norm(grads), rtol=1e-12)
    for scale in (0.01, 1.0, 100.0):
        scaled = jax.tree.map(lambda g, scale=scale: g * scale, grads)
        expected, _ = peer.update(scaled, peer.init(grads))
        chex.assert_trees_all_close(optim.clip_by_global_norm(scaled, 1.5), expected, rtol=1e-12)
    clipped = optim.Clipped(optim.sgd)
    params, _ = clipped(grads, grads, clipped.init(grads, max_norm=1.5, learning_rate=1.0))
    expected = jax.tree.map(lambda g, c: g - c, grads, optim.clip_by_global_norm(grads, 1.5))
    chex.assert_trees_all_close(params, expected, rtol=1e-12)


def test_zero_gradients_are_not_divided_by_their_norm():
    zeros = {"w": jnp.zeros(3)}
    chex.assert_trees_all_equal(optim.clip_by_global_norm(zeros, 1.0), zeros)


def rates(kind, steps, **numbers):
    rule = Scheduled(optim.sgd, kind)
    state = rule.init({"w": jnp.zeros(2)}, learning_rate=0.5, schedule=Schedule(**numbers))

    def step(state, _):
        _, new = rule({"w": jnp.zeros(2)}, {"w": jnp.ones(2)}, state)
        return new, rule.learning_rate(state)

    state, values = jax.jit(lambda s: jax.lax.scan(step, s, length=steps))(state)
    assert rule.learning_rate(state, ago=steps) == values[0]
    return np.asarray(values)


@pytest.mark.usefixtures("x64")
def test_schedules_equal_optax_and_their_definitions():
    count = np.arange(50)
    np.testing.assert_allclose(rates("constant", 50), 0.5)
    np.testing.assert_allclose(rates("exponential", 50, steps_per_epoch=7, lr_decay=0.9), 0.5 * 0.9 ** (count // 7))
    cosine = optax.cosine_decay_schedule(0.5, 40, alpha=0.1)
    np.testing.assert_allclose(rates("cosine", 50, total_steps=40, final=0.1), jax.vmap(cosine)(count), rtol=1e-10)
    linear = optax.linear_schedule(0.5, 0.05, 40)
    np.testing.assert_allclose(rates("linear", 50, total_steps=40, final=0.1), jax.vmap(linear)(count), rtol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["constant", "exponential", "cosine", "linear"])
def test_warm_up_rises_linearly_to_the_full_rate(kind):
    numbers = {"total_steps": 40, "steps_per_epoch": 40}
    warm = rates(kind, 20, warmup_steps=10, **numbers)
    np.testing.assert_allclose(warm[:10], 0.5 * np.arange(1, 11) / 10)
    np.testing.assert_allclose(warm[10], 0.5)


def test_a_scheduled_rule_keeps_its_base_rate_and_uses_the_scheduled_one():
    rule, params = Scheduled(optim.sgd, "exponential"), {"w": jnp.zeros(1)}
    state = rule.init(params, learning_rate=1.0, schedule=Schedule(steps_per_epoch=1, lr_decay=0.5))
    for expected in (-1.0, -1.5, -1.75):
        params, state = rule(params, {"w": jnp.ones(1)}, state)
        np.testing.assert_allclose(params["w"], expected)
    assert state.inner.learning_rate == 1


@pytest.mark.parametrize(
    ("rule", "hyper", "message"),
    [
        (optim.sgd, {"learning_rate": -0.1}, "learning_rate=-0.1"),
        (optim.sgd, {"learning_rate": float("inf")}, "learning_rate=inf"),
        (optim.sgd_momentum, {"momentum": 1.0}, "momentum=1.0"),
        (optim.adam, {"beta2": 1.0}, r"beta2=1.0 must be a finite number in \[0, 1\)"),
        (optim.adam, {"epsilon": float("nan")}, "epsilon=nan"),
        (optim.Clipped(optim.sgd), {"max_norm": 0.0}, "max_norm=0.0"),
        (Scheduled(optim.sgd, "cosine"), {"schedule": Schedule(lr_decay=-1.0)}, "lr_decay=-1.0"),
        (Scheduled(optim.sgd, "cosine"), {"schedule": Schedule(warmup_steps=-1)}, "warmup_steps=-1"),
    ],
)
def test_bad_numbers_are_named(rule, hyper, message):
    with pytest.raises(ValueError, match=message):
        rule.init({"w": jnp.zeros(2)}, **hyper)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        optim.rule("adma")
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        Scheduled(optim.sgd, "cosin")
