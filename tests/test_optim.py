"""Update rules, against optax, plain NumPy and the CS231n assignment's numbers."""

import itertools
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxfc import TrainConfig, optim
from jaxfc.layers import precision


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
    "adamw": (
        {"learning_rate": 0.01, "weight_decay": 0.03},
        lambda: optax.adamw(0.01, weight_decay=0.03, mask=masked(optim.matrices)),
    ),
    "lion": (
        {"learning_rate": 0.01, "weight_decay": 0.03},
        lambda: optax.lion(0.01, b1=0.9, b2=0.99, weight_decay=0.03, mask=masked(optim.matrices)),
    ),
    "muon": (
        {"learning_rate": 0.01, "momentum": 0.8, "beta1": 0.7, "beta2": 0.99, "epsilon": 1e-6, "weight_decay": 0.03},
        lambda: optax.contrib.muon(0.01, beta=0.8, adam_b1=0.7, adam_b2=0.99, eps=1e-6, weight_decay=0.03),
    ),
}


def masked(predicate):
    """A predicate of path and leaf as a mask that optax takes."""
    return lambda params: jax.tree.map_with_path(
        lambda keys, p: predicate(jax.tree_util.keystr(keys, simple=True, separator="."), p), params
    )


def assert_equals_optax(rule, hyper, peer, params, steps=100, tolerance=1e-10):
    """Compare parameters after some steps of drawn gradients."""
    rng = np.random.default_rng(1)
    grads = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(steps, *p.shape)), p.dtype), params)

    def mine(carry, grads):
        return rule(carry[0], grads, carry[1]), None

    def theirs(carry, grads):
        updates, state = peer.update(grads, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    (got, _), _ = jax.jit(lambda: jax.lax.scan(mine, (params, rule.init(params, **hyper)), grads))()
    (expected, _), _ = jax.jit(lambda: jax.lax.scan(theirs, (params, peer.init(params)), grads))()
    chex.assert_trees_all_close(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("x64", "promotion")
@pytest.mark.parametrize("name", optim.RULES)
def test_equals_optax_over_100_steps(name):
    hyper, make = PEERS[name]
    assert_equals_optax(optim.RULES[name], hyper, make(), tree(0))


@pytest.mark.usefixtures("x64", "promotion")
@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_decay_acts_on_what_the_predicate_says(name):
    hyper = {"learning_rate": 0.01, "beta2": 0.99, "weight_decay": 0.5}
    peer = {"adamw": optax.adamw, "lion": optax.lion}[name]
    rule = optim.decaying(optim.RULES[name], optim.everything)
    assert_equals_optax(rule, hyper, peer(0.01, b2=0.99, weight_decay=0.5), tree(0), steps=10)
    rule = optim.decaying(rule, is_in_the_second_layer)
    peer = peer(0.01, b2=0.99, weight_decay=0.5, mask=masked(is_in_the_second_layer))
    assert_equals_optax(rule, hyper, peer, tree(0), steps=10)


def is_in_the_second_layer(path, leaf):
    assert leaf.ndim == {"w": 2, "b": 1}[path[-1]]
    return path.startswith("1.")


def test_rules_that_decay_elsewhere_are_told_apart_by_name_and_value():
    rule = optim.decaying(optim.adamw, optim.everything)
    assert rule.name == "adamw(everything)"
    assert repr(optim.Clipped(rule)) == "Clipped(rule=adamw(everything))"
    assert rule == optim.decaying(optim.adamw, optim.everything)
    assert hash(rule) == hash(optim.decaying(optim.adamw, optim.everything))
    assert rule != optim.adamw
    assert optim.decaying(rule, optim.matrices).name == "adamw(matrices)"
    assert optim.decaying(optim.muon, is_in_the_second_layer).hyper == optim.muon.hyper
    with pytest.raises(ValueError, match="sgd has no decoupled weight decay: use adamw"):
        optim.decaying(optim.sgd, optim.everything)


# ---------------------------------------------------------------------------------------------------
# Muon
# ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("promotion")
def test_muon_equals_optax_in_float32():
    params = [{"w": jnp.ones((3, 7)), "b": jnp.ones(7)}, {"w": jnp.ones((7, 4)), "b": jnp.ones(4)}]
    peer = optax.contrib.muon(0.01, weight_decay=0.1)
    assert_equals_optax(optim.muon, {"learning_rate": 0.01, "weight_decay": 0.1}, peer, params, tolerance=2e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (7, 2), (1, 5), (5, 1)])
def test_orthogonalizing_is_a_polynomial_of_the_singular_values(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values /= np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    got = optim.orthogonalize(jnp.asarray(matrix), 0.0)
    np.testing.assert_allclose(got, left @ np.diag(values) @ right, rtol=1e-10, atol=1e-10)
    assert np.all((values > 0.6) & (values < 1.3))


def test_muon_stands_still_without_gradients():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    new, _ = optim.muon(params, zeros, optim.muon.init(params))
    chex.assert_trees_all_equal(new, params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_muon_multiplies_matrices_in_the_type_of_the_parameters(dtype):
    params = {"w": jnp.ones((2, 3), dtype)}
    program = jax.make_jaxpr(optim.muon)(params, params, optim.muon.init(params))
    products = [equation for equation in program.eqns if equation.primitive.name == "dot_general"]
    assert len(products) == 15
    assert {variable.aval.dtype.name for product in products for variable in product.invars} == {dtype}


def test_muon_multiplies_in_bfloat16_where_a_network_does(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    rng = np.random.default_rng(0)
    params = {"w": jnp.asarray(rng.normal(size=(6, 40)), jnp.float32), "b": jnp.ones(40)}
    chosen, hyper = TrainConfig(update_rule="muon", compute_dtype="bfloat16").optimizer(100)
    state = chosen.init(params, **hyper)
    program = str(jax.make_jaxpr(chosen)(params, params, state))
    assert program.count("bf16[6,6]") >= 5
    assert "bf16" not in str(jax.make_jaxpr(optim.muon)(params, params, optim.muon.init(params)))
    # A step is as long as that of float32, and points the same way to bfloat16's two and a half digits.
    wide, _ = optim.muon(params, params, optim.muon.init(params))
    narrow, _ = optim.muon_bfloat16(params, params, optim.muon_bfloat16.init(params))
    np.testing.assert_allclose(narrow["w"], wide["w"], atol=0.02 * 0.02 * np.sqrt(40 / 6))
    np.testing.assert_array_equal(narrow["b"], wide["b"])


def test_muon_multiplies_in_the_parameters_type_where_bfloat16_is_slow(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    params = {"w": jnp.ones((2, 3))}
    with warnings.catch_warnings(action="ignore"):
        got, _ = optim.muon_bfloat16(params, params, optim.muon_bfloat16.init(params))
    chex.assert_trees_all_equal(got, optim.muon(params, params, optim.muon.init(params))[0])


# ---------------------------------------------------------------------------------------------------
# Numbers
# ---------------------------------------------------------------------------------------------------


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
    rule, params = optim.RULES[name], {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    step = jax.jit(rule)
    first, _ = step(params, params, rule.init(params, learning_rate=0.1))
    state = rule.init(params, learning_rate=0.2)
    compilations.clear()
    second, _ = step(params, params, state)
    assert not compilations
    assert all((first[leaf] != second[leaf]).all() for leaf in params)


@pytest.mark.parametrize("name", optim.RULES)
def test_parameters_keep_their_dtype_and_slots_are_float32(name):
    rule, params = optim.RULES[name], {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)}
    new, state = rule(params, params, rule.init(params))
    assert new["w"].dtype == new["b"].dtype == jnp.bfloat16
    slots = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert {leaf.dtype.name for leaf in slots} <= {"float32"}


@pytest.mark.parametrize(
    ("rule", "hyper", "message"),
    [
        (optim.sgd, {"learning_rate": -0.1}, "learning_rate=-0.1"),
        (optim.sgd, {"learning_rate": float("inf")}, "learning_rate=inf"),
        (optim.sgd_momentum, {"momentum": 1.0}, "momentum=1.0"),
        (optim.adam, {"beta2": 1.0}, r"beta2=1.0 must be a finite number in \[0, 1\)"),
        (optim.adam, {"epsilon": float("nan")}, "epsilon=nan"),
        (optim.muon, {"momentum": -0.1}, "momentum=-0.1"),
        (optim.Clipped(optim.sgd), {"max_norm": 0.0}, "max_norm=0.0"),
        (optim.Averaged(optim.sgd), {"decay": 1.0}, "decay=1.0"),
    ],
)
def test_bad_numbers_are_named(rule, hyper, message):
    with pytest.raises(ValueError, match=message):
        rule.init({"w": jnp.zeros(2)}, **hyper)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        optim.rule("adma")
    with pytest.raises(ValueError, match="did you mean 'momentum'"):
        optim.help_of("momentun")


@pytest.mark.parametrize("name", optim.RULES)
def test_every_hyper_parameter_of_a_rule_is_described_once(name):
    state = optim.RULES[name].init({"w": jnp.ones((2, 2))})
    for hyper in optim.RULES[name].hyper:
        optim.HYPER[hyper].check(hyper, float(optim.hyper_of(state, hyper)))
        text = optim.help_of(hyper)
        assert text.endswith(".")
        assert name in text or hyper == "learning_rate"


def test_the_help_of_a_hyper_parameter_names_the_rules_that_have_it():
    assert optim.help_of("beta1") == "Decay of the mean gradient, of adam, adamw, lion and muon."
    assert optim.help_of("decay_rate") == "Decay of the mean squared gradient, of rmsprop."
    assert optim.help_of("learning_rate") == "Learning rate, before its schedule."
    assert optim.help_of("max_norm") == "Clip gradients to this global norm."
