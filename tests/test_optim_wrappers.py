"""Rules that wrap rules: clipping, averaging, groups, and all of them in any order."""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_optim import assert_equals_optax, masked, tree

from jaxfc import optim
from jaxfc.optim import Averaged, Clipped, Grouped, Schedule, Scheduled


def like(params, seed):
    """Gradients drawn for some parameters."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)


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


# ---------------------------------------------------------------------------------------------------
# Averages
# ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_the_average_is_that_of_its_definition():
    rule, params = Averaged(optim.sgd), tree(0)
    state, step = rule.init(params, decay=0.4, learning_rate=0.1), jax.jit(rule)
    expected, plain, plain_state = params, params, optim.sgd.init(params, learning_rate=0.1)
    for n in range(12):
        params, state = step(params, like(params, n), state)
        plain, plain_state = optim.sgd(plain, like(plain, n), plain_state)
        d = min(0.4, (1 + n) / (10 + n))
        expected = jax.tree.map(lambda average, p, d=d: d * average + (1 - d) * p, expected, plain)
    chex.assert_trees_all_close(params, plain, rtol=1e-12)
    chex.assert_trees_all_close(optim.averages(state), expected, rtol=1e-12)
    assert state.count == 12


def test_an_average_is_an_array_of_its_own():
    rule, params = Averaged(optim.adam), {"w": jnp.ones(3)}
    state = rule.init(params, decay=0.9)
    params, state = jax.jit(rule, donate_argnums=(0, 2))(params, {"w": jnp.ones(3)}, state)
    assert params["w"].shape == (3,)


def test_averages_are_float32_at_least_and_found_at_any_depth():
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    rule = Clipped(Scheduled(Averaged(optim.sgd), "cosine"))
    state = rule.init(params, max_norm=1.0, schedule=Schedule(total_steps=5))
    _, state = rule(params, params, state)
    assert optim.averages({"state": (state,)})["w"].dtype == jnp.float32
    assert optim.averages(optim.adam.init(params)) is None
    assert optim.averages(()) is None


def test_the_averages_of_groups_are_put_together():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    rule = Grouped({"w": Averaged(optim.sgd), "b": Averaged(optim.adam)}, by_name)
    chex.assert_trees_all_equal(optim.averages(rule.init(params, decay=0.5)), params)
    rule = Grouped({"w": Averaged(optim.sgd), "b": optim.adam}, by_name)
    assert optim.averages(rule.init(params, decay=0.5))["b"] is None


# ---------------------------------------------------------------------------------------------------
# Groups
# ---------------------------------------------------------------------------------------------------


def by_name(path, leaf):
    return path.split(".")[-1]


def by_rank(path, leaf):
    return "matrices" if leaf.ndim == 2 else "rest"


def labels(params):
    return jax.tree.map(lambda p: by_rank("", p), params)


RULE = Grouped({"matrices": optim.sgd_momentum, "rest": optim.adam}, by_rank)


@pytest.mark.usefixtures("x64", "promotion")
def test_groups_equal_optax():
    hyper = {"matrices": {"learning_rate": 0.1}, "rest": {"learning_rate": 0.01}, "beta1": 0.8}
    peers = {"matrices": optax.sgd(0.1, momentum=0.9), "rest": optax.adam(0.01, b1=0.8)}
    assert_equals_optax(RULE, hyper, optax.multi_transform(peers, labels), tree(0))


@pytest.mark.usefixtures("x64", "promotion")
def test_a_schedule_multiplies_each_groups_learning_rate():
    rule = Scheduled(Grouped({"matrices": optim.muon, "rest": optim.adam}, by_rank), "cosine")
    hyper = {"matrices": {"learning_rate": 0.1}, "learning_rate": 0.01, "schedule": Schedule(total_steps=80)}
    rates = {"matrices": optax.cosine_decay_schedule(0.1, 80), "rest": optax.cosine_decay_schedule(0.01, 80)}
    peers = {"matrices": optax.contrib.muon(rates["matrices"]), "rest": optax.adam(rates["rest"])}
    assert_equals_optax(rule, hyper, optax.multi_transform(peers, labels), tree(0))
    state = rule.init(tree(0), **hyper)
    np.testing.assert_allclose(optim.learning_rate_of(rule, state), 0.1)
    assert optim.hyper_of(state, "learning_rate").keys() == {"matrices", "rest"}
    scheduled = Scheduled(RULE, "cosine", of="momentum")  # which one group alone has
    scheduled(tree(0), tree(0), scheduled.init(tree(0), momentum_schedule=Schedule()))


@pytest.mark.usefixtures("x64", "promotion")
def test_decay_and_clipping_in_a_group_act_on_its_own_parameters():
    rule = Grouped({"w": Clipped(optim.adamw), "b": optim.sgd}, by_name)
    hyper = {"learning_rate": 0.1, "w": {"max_norm": 0.5, "weight_decay": 0.3}}
    peers = {"w": optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, weight_decay=0.3)), "b": optax.sgd(0.1)}
    assert_equals_optax(rule, hyper, optax.multi_transform(peers, masked(by_name)), tree(0))


def test_groups_are_hashable_and_equal_by_value():
    same = Grouped({"rest": optim.adam, "matrices": optim.sgd_momentum}, by_rank)
    assert same == RULE
    assert hash(same) == hash(RULE)
    assert Grouped(RULE.rules, by_name) != RULE


def test_keywords_that_no_group_takes_are_named():
    params = tree(0)
    with pytest.raises(TypeError, match=r"weight_decay=0.1 is taken by no group's rule: use matrices, rest, lea"):
        RULE.init(params, weight_decay=0.1)
    with pytest.raises(TypeError, match=r"rest=0.1 must be a dict"):
        RULE.init(params, rest=0.1)
    with pytest.raises(ValueError, match=r"unknown group of the parameter '0.b', 'b': use one of: w"):
        Grouped({"w": optim.sgd}, by_name).init([{"b": jnp.ones(2), "w": jnp.ones(2)}])
    assert RULE.init([], learning_rate=0.1).groups["rest"].learning_rate == jnp.float32(0.1)


# ---------------------------------------------------------------------------------------------------
# Rules of rules
# ---------------------------------------------------------------------------------------------------


class DescentState(NamedTuple):
    learning_rate: Any
    weight_decay: Any


class Descent:
    """A rule of one's own, with no more than the contract asks."""

    def init(self, params, learning_rate=0.1, weight_decay=0.2):
        return DescentState(jnp.asarray(learning_rate), jnp.asarray(weight_decay))

    def __call__(self, params, grads, state):
        return jax.tree.map(lambda p, g: p - state.learning_rate * (g + state.weight_decay * p), params, grads), state


class DescentByDict(Descent):
    def init(self, params, **hyper):
        return super().init(params, **hyper)._asdict()

    def __call__(self, params, grads, state):
        return super().__call__(params, grads, DescentState(**state))[0], state


def only_group(rule):
    return Grouped({"all": rule}, lambda path, leaf: "all")


WRAPPERS = (Clipped, Averaged, partial(Scheduled, kind="cosine"), only_group)
TURNS = [turn[i:] + turn[:i] for turn in (WRAPPERS, WRAPPERS[::-1]) for i in range(4)]
HYPER = {"max_norm": 0.5, "decay": 0.5, "schedule": Schedule(total_steps=10), "all": {"learning_rate": 0.05}}


@pytest.mark.parametrize("rule", [optim.adam, Descent(), DescentByDict()])
def test_wrappers_in_any_order_give_the_same_numbers(rule):
    params, results = tree(0), []
    for order in TURNS:
        wrapped = rule
        for wrapper in order:
            wrapped = wrapper(wrapped)
        state = wrapped.init(params, **HYPER)
        optim.check_rule(wrapped, params, params, state)
        new, step = params, jax.jit(wrapped)
        for n in range(3):
            new, state = step(new, like(params, n), state)
        np.testing.assert_allclose(
            optim.learning_rate_of(wrapped, state), 0.05 * 0.5 * (1 + np.cos(0.3 * np.pi)), rtol=1e-5
        )
        results.append((new, optim.averages(state)))
    for other in results[1:]:
        chex.assert_trees_all_close(other, results[0], rtol=1e-6)


class Wrapper(NamedTuple):
    """A wrapper of one's own, which says nothing about learning rates."""

    rule: Any

    def init(self, params, **hyper):
        return optim.AveragedState(jnp.zeros(()), jnp.int32(0), params, self.rule.init(params, **hyper))

    def __call__(self, params, grads, state):
        params, inner = self.rule(params, grads, state.inner)
        return params, state._replace(inner=inner)


def test_the_learning_rate_is_found_wherever_it_is_told():
    params = {"w": jnp.ones(2)}
    rule = Wrapper(Scheduled(Descent(), "linear"))
    state = rule.init(params, learning_rate=0.5, schedule=Schedule(total_steps=4))
    for rate in (0.5, 0.375, 0.25):
        assert optim.learning_rate_of(rule, state) == rate
        params, state = rule(params, params, state)
    assert optim.learning_rate_of(rule, state, ago=2) == 0.375
    still = optim.Rule("still", lambda params: (), lambda params, grads, state: (params, state))
    for rule in (still, Clipped(Wrapper(still))):
        hyper = {} if rule is still else {"max_norm": 1.0}
        assert optim.learning_rate_of(rule, rule.init(params, **hyper)) is None


def test_a_hyper_parameter_is_found_and_replaced_at_any_depth():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    rule = Clipped(Grouped({"w": Scheduled(optim.adamw, "linear"), "b": DescentByDict()}, by_name))
    state = rule.init(params, max_norm=3.0, schedule=Schedule(), w={"learning_rate": 0.5})
    assert optim.hyper_of(state, "max_norm") == 3
    assert optim.hyper_of(state, "learning_rate") == {"w": 0.5, "b": jnp.float32(0.1)}
    assert optim.hyper_of(state, "beta1") == {"w": jnp.float32(0.9)}
    for value in (0.25, {"w": 0.25, "b": 0.25}):
        changed = optim.with_hyper(state, "learning_rate", value)
        assert optim.hyper_of(changed, "learning_rate") == {"w": 0.25, "b": 0.25}
    assert jax.tree.structure(changed) == jax.tree.structure(state)
    assert optim.with_hyper(state, "max_norm", 1.0).max_norm == 1
    for refused in (optim.hyper_of, partial(optim.with_hyper, value=1.0)):
        with pytest.raises(ValueError, match="no 'momentum': it has max_norm, step, schedule, learning_rate, beta1"):
            refused(state, "momentum")
        with pytest.raises(ValueError, match="no 'momentum': it has none"):
            refused((), "momentum")


# ---------------------------------------------------------------------------------------------------
# Populations and programs
# ---------------------------------------------------------------------------------------------------

POPULATIONS = {
    "adam": (optim.adam, {"learning_rate": [0.1, 0.01], "beta1": [0.5, 0.9], "epsilon": [1e-3, 1e-8]}),
    "adamw": (optim.adamw, {"learning_rate": [0.1, 0.01], "weight_decay": [0.5, 0.0]}),
    "muon": (optim.muon, {"learning_rate": [0.1, 0.01], "momentum": [0.5, 0.9], "beta2": [0.9, 0.99]}),
    "clipped": (Clipped(optim.sgd), {"max_norm": [0.1, 10.0]}),
    "scheduled": (
        Scheduled(optim.adam, "cosine"),
        {"learning_rate": [0.1, 0.2], "schedule": Schedule(warmup_steps=[0, 2], total_steps=[5, 9], final=[0.1, 0.0])},
    ),
    "averaged": (Averaged(optim.sgd), {"decay": [0.1, 0.9], "learning_rate": [0.1, 0.2]}),
    "grouped": (
        Scheduled(RULE, "linear"),
        {"matrices": {"learning_rate": [0.1, 0.2]}, "beta1": [0.5, 0.9], "schedule": Schedule(total_steps=[5, 9])},
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", POPULATIONS)
def test_a_population_equals_its_members_one_by_one(name):
    rule, values = POPULATIONS[name]
    hyper = jax.tree.map(jnp.asarray, values, is_leaf=lambda value: isinstance(value, list))
    # What is not in the table is the same for both.
    hyper = jax.tree.map(lambda value: jnp.broadcast_to(value, 2), hyper)

    def train(hyper):
        params = tree(0)
        state = rule.init(params, **hyper)
        for n in range(4):
            params, state = rule(params, like(params, n), state)
        return params, optim.averages(state), optim.learning_rate_of(rule, state)

    together = jax.jit(jax.vmap(train))(hyper)
    for i in range(2):
        alone = jax.jit(train)(jax.tree.map(lambda value, i=i: value[i], hyper))
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), alone, rtol=1e-9)


@pytest.mark.parametrize("name", POPULATIONS)
def test_a_second_step_compiles_nothing(name, compilations):
    rule, values = POPULATIONS[name]
    hyper = jax.tree.map(lambda value: np.ravel(value)[0], values, is_leaf=lambda value: isinstance(value, list))
    params, step = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}, jax.jit(rule)
    state = rule.init(params, **hyper)
    new, state = step(params, params, state)
    compilations.clear()
    step(new, params, state)
    assert not compilations


# ---------------------------------------------------------------------------------------------------
# The check of a rule
# ---------------------------------------------------------------------------------------------------


def broken(update):
    return optim.Rule("broken", optim.adam.init, update)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda p, g, s: (p, s._replace(m=p["w"])), "form of its state: 'm.w' was float32.2. and is gone"),
        (lambda p, g, s: (p, s._replace(step=s.step / 2)), "'step' was int32.. and became float32.."),
        (lambda p, g, s: ({"w": p["w"][:1]}, s), "form of the parameters: 'w' was float32.2. and became float32.1."),
        (lambda p, g, s: (p | {"u": p["w"]}, s), "'u' is new"),
        (lambda p, g, s: (p, tuple(s)), "'learning_rate' was float32.. and is gone"),
        (lambda p, g, s: ([], s), "'w' was float32.2. and is gone"),
    ],
)
def test_a_rule_that_changes_the_shape_of_things_is_refused(update, message):
    params = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match=message) as raised:
        optim.check_rule(broken(update), params, params, optim.adam.init(params))
    assert "the rule broken" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_returns_no_pair_is_refused():
    class Broken(Descent):
        def __call__(self, params, grads, state):
            return self.returned

    for returned, what in (((1, 2, 3), "tuple of 3"), ([1, 2], "list")):
        rule = Broken()
        rule.returned = returned
        with pytest.raises(ValueError, match=rf"Broken object.* must return \(params, state\), not a {what}"):
            optim.check_rule(rule, {}, {}, ())
    with pytest.raises(ValueError, match=r"form of its state: tuple became list"):
        optim.check_rule(optim.Rule("broken", optim.sgd.init, lambda p, g, s: (p, [])), {}, {}, ())


def test_what_is_no_rule_is_refused():
    for nothing in ("adam", lambda params, grads, state: (params, state)):
        with pytest.raises(TypeError, match=r"is no update rule: it needs init\(params"):
            optim.check_rule(nothing, {}, {}, ())


@pytest.mark.parametrize("name", optim.RULES)
def test_the_built_in_rules_pass_the_check(name):
    params = {"w": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3)}
    optim.check_rule(optim.RULES[name], params, params, optim.RULES[name].init(params))
