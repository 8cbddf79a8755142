"""The step that everything is trained by, and what may go into it."""

import dataclasses
import os

import chex
import jax
import numpy as np
import optax
import pytest
from examples import NET, PLAIN, QUIET, blobs, run

from jaxfc import FCNet, apply, fit, init_state, optim, train_step
from jaxfc.data import Normalizer, load, shuffled_plan
from jaxfc.objective import ROWS, outputs_of


@pytest.fixture(scope="module")
def data():
    return blobs()


def test_a_step_equals_gradient_and_rule_by_hand(data):
    net = FCNet(4, (8,), 3, reg=0.1)
    state = init_state(net, optim.adam, jax.random.key(0), learning_rate=0.01)
    x, y = data.x_train[:16], data.y_train[:16]

    def by_hand(params):
        scores, _ = apply(net, params, (), data.normalizer(x), train=True)
        penalty = 0.05 * sum((layer["w"] ** 2).sum() for layer in params)
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean() + penalty

    expected_loss, grads = jax.jit(jax.value_and_grad(by_hand))(state.params)
    expected, _ = jax.jit(optim.adam)(state.params, grads, state.opt_state)
    state, loss = train_step(net, optim.adam, state, x, y, data.normalizer)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    chex.assert_trees_all_close(state.params, expected, rtol=1e-5, atol=1e-6)


def test_a_run_equals_steps_taken_one_by_one(data):
    result = run(data, seed=7)
    state = init_state(NET, optim.adam, jax.random.key(7), learning_rate=3e-2)
    losses = []
    for epoch in (1, 2, 3, 4):
        for rows in shuffled_plan(200, 32, seed=7, epoch=epoch):
            state, loss = train_step(NET, optim.adam, state, data.x_train[rows], data.y_train[rows], data.normalizer)
            losses.append(loss)
    np.testing.assert_allclose(result.loss_history, losses, rtol=1e-4)
    for params in (result.params, state.params):
        params[0].pop("b")  # batchnorm cancels it: its gradient is noise, and Adam makes steps of full length of that
    chex.assert_trees_all_close(result.params, state.params, rtol=1e-3, atol=1e-5)


def test_the_order_of_rows_has_a_seed_of_its_own(data):
    one, same, other = (run(data, seed=3, order_seed=order) for order in (None, 3, 4))
    chex.assert_trees_all_equal(one.params, same.params)
    assert one.loss_history[0] != other.loss_history[0]
    assert one.train_history[0] == pytest.approx(other.train_history[0])  # all rows, and the same initial weights


def test_a_second_run_with_other_numbers_compiles_nothing(data, compilations):
    run(data)
    compilations.clear()
    run(data)
    assert not compilations
    other = dataclasses.replace(NET, reg=0.1, dropout_keep_ratio=0.5)
    run(data, other, hyper={"learning_rate": 0.1, "beta1": 0.5}, seed=3, order_seed=5)
    assert not compilations


@pytest.mark.parametrize("rows", [1, ROWS, ROWS + 1, 2 * ROWS + 17])
def test_outputs_in_chunks(rows):
    params, _ = PLAIN.init(jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32)
    normalizer = Normalizer(np.full(4, 0.5, np.float32), np.float32(2))
    outputs = jax.jit(outputs_of)(PLAIN, params, (), normalizer, x)
    np.testing.assert_allclose(outputs, apply(PLAIN, params, (), (x - 0.5) * 2)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", optim.RULES)
def test_every_rule_trains(data, rule):
    rates = {"sgd": 0.3, "sgd_momentum": 0.05, "nesterov": 0.05, "adagrad": 0.2, "lion": 0.02}
    result = run(data, PLAIN, rule, hyper={"learning_rate": rates.get(rule, 0.03)})
    assert result.best_val_acc > 0.9
    assert result.loss_history[-6:].mean() < 0.5 * result.loss_history[:3].mean()


def test_float64_and_bfloat16_runs(data):
    with jax.enable_x64(True):
        result = run(data, FCNet(4, (8,), 3, param_dtype="float64"), epochs=3)
    assert result.params[0]["w"].dtype == np.float64
    assert result.best_val_acc > 0.9
    assert run(data, FCNet(4, (8,), 3, compute_dtype="bfloat16"), epochs=3).best_val_acc > 0.9


def test_50_examples_are_overfitted():
    digits = load("digits").subset(50)
    net = FCNet(64, (100, 100), 10)
    result = fit(net, "adam", digits, epochs=40, batch_size=25, **QUIET)
    assert result.train_acc_history[-1] == 1


def test_cifar10_trains():
    if "JAXFC_DATA" not in os.environ:
        pytest.skip("JAXFC_DATA names no folder with CIFAR-10")
    data = load("cifar10").subset(5000)
    net = FCNet(3072, (100,), 10, normalization="batchnorm")
    result = fit(net, "adam", data, epochs=3, batch_size=100, **QUIET)
    assert result.best_val_acc > 0.36
