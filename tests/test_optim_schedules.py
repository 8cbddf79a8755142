"""Schedules of learning rates and other hyper-parameters, against optax and their definitions."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxfc import optim
from jaxfc.optim.schedules import Schedule, Scheduled


def rates(kind, steps, **numbers):
    rule = Scheduled(optim.sgd, kind)
    state = rule.init({"w": jnp.zeros(2)}, learning_rate=0.5, schedule=Schedule(**numbers))

    def step(state, _):
        _, new = rule({"w": jnp.zeros(2)}, {"w": jnp.ones(2)}, state)
        return new, rule.learning_rate(state)

    state, values = jax.jit(lambda s: jax.lax.scan(step, s, length=steps))(state)
    assert rule.learning_rate(state, ago=steps) == values[0]
    return np.asarray(values)


@pytest.mark.usefixtures("x64", "promotion")
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
    np.testing.assert_allclose(warm[:10], 0.5 * np.arange(1, 11) / 10, rtol=1e-14)
    np.testing.assert_allclose(warm[10], 0.5)


def test_a_scheduled_rule_keeps_its_base_rate_and_uses_the_scheduled_one():
    rule, params = Scheduled(optim.sgd, "exponential"), {"w": jnp.zeros(1)}
    state = rule.init(params, learning_rate=1.0, schedule=Schedule(steps_per_epoch=1, lr_decay=0.5))
    for expected in (-1.0, -1.5, -1.75):
        params, state = rule(params, {"w": jnp.ones(1)}, state)
        np.testing.assert_allclose(params["w"], expected)
    assert state.inner.learning_rate == 1


PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([1.0, -1.0])}
GRADS = {"w": jnp.array([[0.1, 0.2], [-0.3, 0.4]]), "b": jnp.array([0.5, -0.6])}


def course(rule, state, steps, params=PARAMS):
    """The parameters after some steps of the same gradients, and the state."""
    step = jax.jit(rule)
    for _ in range(steps):
        params, state = step(params, GRADS, state)
    return params, state


@pytest.mark.usefixtures("promotion")
def test_any_hyper_parameter_follows_a_schedule_as_in_optax():
    rule = Scheduled(Scheduled(optim.adamw, "cosine"), "linear", of="weight_decay")
    numbers = {"schedule": Schedule(total_steps=20), "weight_decay_schedule": Schedule(total_steps=10, final=0.5)}
    state = rule.init(PARAMS, learning_rate=0.1, weight_decay=0.3, **numbers)
    got, state = course(rule, state, 15)
    peer = optax.inject_hyperparams(optax.adamw, static_args="mask")(
        learning_rate=optax.cosine_decay_schedule(0.1, 20),
        weight_decay=optax.linear_schedule(0.3, 0.15, 10),
        mask={"w": True, "b": False},
    )
    expected, peer_state = PARAMS, peer.init(PARAMS)
    for _ in range(15):
        updates, peer_state = peer.update(GRADS, peer_state, expected)
        expected = optax.apply_updates(expected, updates)
    chex.assert_trees_all_close(got, expected, rtol=1e-5)
    np.testing.assert_allclose(optim.hyper_of(state, "weight_decay"), 0.3)
    np.testing.assert_allclose(optim.hyper_of(state, "learning_rate"), 0.1)
    swapped = Scheduled(Scheduled(optim.adamw, "linear", of="weight_decay"), "cosine")
    again, _ = course(swapped, swapped.init(PARAMS, learning_rate=0.1, weight_decay=0.3, **numbers), 15)
    chex.assert_trees_all_equal(again, got)


def test_the_learning_rate_told_is_that_of_its_own_schedule():
    rule = Scheduled(Scheduled(optim.adamw, "constant"), "linear", of="weight_decay")
    numbers = {"schedule": Schedule(), "weight_decay_schedule": Schedule(total_steps=10)}
    _, state = course(rule, rule.init(PARAMS, learning_rate=0.5, **numbers), 5)
    assert rule.learning_rate(state) == 0.5
    assert rule.factor(state) == 0.5


def halving(step, schedule):
    return 0.5 ** step.astype(float)


def test_a_function_of_ones_own_is_a_schedule():
    rule = Scheduled(optim.sgd, halving)
    assert hash(rule) == hash(Scheduled(optim.sgd, halving))
    params, _ = course(rule, rule.init(PARAMS, learning_rate=1, schedule=Schedule()), 3)
    expected = jax.tree.map(lambda p, g: p - 1.75 * g, PARAMS, GRADS)
    chex.assert_trees_all_close(params, expected, rtol=1e-6)


def test_an_extended_run_goes_on_as_one_that_was_longer_from_the_start():
    rule = optim.Clipped(Scheduled(Scheduled(optim.adamw, "constant"), "linear", of="weight_decay"))
    hyper = {"max_norm": 1.0, "schedule": Schedule(total_steps=10)}
    short = rule.init(PARAMS, **hyper, weight_decay_schedule=Schedule(total_steps=10))
    long = rule.init(PARAMS, **hyper, weight_decay_schedule=Schedule(total_steps=30))
    _, state = course(rule, short, 5)
    _, expected = course(rule, long, 5)
    extended = optim.extended(state, 30)
    chex.assert_trees_all_equal_shapes_and_dtypes(extended, state)
    assert extended.inner.schedule == expected.inner.schedule
    assert extended.inner.inner.schedule.total_steps == 30
    with pytest.raises(ValueError, match="total_steps=0"):
        optim.extended(state, 0)


def test_the_schedules_of_a_population_are_extended_together():
    rule = Scheduled(optim.sgd, "linear")
    steps = jnp.array([10, 20])
    states = jax.vmap(lambda n: rule.init(PARAMS, schedule=Schedule(total_steps=n)))(steps)
    assert optim.extended(states, 40).schedule.total_steps.tolist() == [40, 40]
    assert optim.extended(states, 2 * steps).schedule.total_steps.tolist() == [20, 40]


def test_a_learning_rate_that_is_an_integer_is_scheduled_too():
    class Descent:
        def init(self, params, learning_rate=1):
            return {"learning_rate": jnp.asarray(learning_rate)}

        def __call__(self, params, grads, state):
            return jax.tree.map(lambda p, g: p - state["learning_rate"] * g, params, grads), state

    rule = Scheduled(Descent(), "linear")
    state = rule.init(PARAMS, schedule=Schedule(total_steps=2))
    params, state = course(rule, state, 2)
    chex.assert_trees_all_close(params, jax.tree.map(lambda p, g: p - 1.5 * g, PARAMS, GRADS), rtol=1e-6)
    optim.check_rule(rule, PARAMS, GRADS, state)


@pytest.mark.parametrize(
    ("numbers", "message"), [({"lr_decay": -1.0}, "lr_decay=-1.0"), ({"warmup_steps": -1}, "warmup_steps=-1")]
)
def test_numbers_that_make_no_schedule_are_named(numbers, message):
    with pytest.raises(ValueError, match=message):
        Scheduled(optim.sgd, "cosine").init(PARAMS, schedule=Schedule(**numbers))


def test_what_cannot_be_scheduled_is_named():
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        Scheduled(optim.sgd, "cosin")
    with pytest.raises(TypeError, match="weight_decay_schedule=None must be a Schedule"):
        Scheduled(optim.adamw, "cosine", of="weight_decay").init(PARAMS, schedule=Schedule())
    with pytest.raises(ValueError, match="no 'momentum': it has learning_rate"):
        Scheduled(optim.sgd, "cosine", of="momentum").init(PARAMS, momentum_schedule=Schedule())
