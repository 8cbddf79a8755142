"""Averages of parameters, gradients in parts, and augmentations, in a training and when it is resumed."""

import dataclasses

import chex
import jax
import numpy as np
import pytest
from examples import NET, PLAIN, Stop, assert_same_bits, blobs, numbers, run, stop_after

from jaxfc import Classification, FCNet, Model, Regression, init_state, optim, train_step
from jaxfc.data import shuffled_plan
from jaxfc.networks.contract import shapes
from jaxfc.training.step import TrainState


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def plain(data):
    return run(data, PLAIN)


@pytest.fixture(scope="module")
def averaged(data):
    return run(data, PLAIN, ema_decay=0.7)


def test_averages_equal_those_made_step_by_step(data, averaged):
    state = init_state(PLAIN, optim.adam, jax.random.key(0), learning_rate=3e-2)
    average = jax.device_get(state.params)
    for epoch in range(1, averaged.best_epoch + 1):
        for i, rows in enumerate(shuffled_plan(200, 32, seed=0, epoch=epoch)):
            state, _ = train_step(PLAIN, optim.adam, state, data.x_train[rows], data.y_train[rows], data.normalizer)
            n = 6 * (epoch - 1) + i
            decay = min(0.7, (1 + n) / (10 + n))
            average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * np.asarray(p), average, state.params)
    chex.assert_trees_all_close(averaged.best_params, average, rtol=1e-3, atol=1e-5)
    chex.assert_trees_all_close(averaged.best_raw, state.params, rtol=1e-3, atol=1e-5)


def test_averages_are_measured_and_leave_the_training_as_it_is(data, plain, averaged):
    chex.assert_trees_all_close(averaged.params, plain.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(averaged.val_raw_history, plain.val_history, rtol=1e-5)
    assert (averaged.val_loss_history[1:] != plain.val_loss_history[1:]).all()
    measured = averaged.model(data).evaluate(data.x_val, data.y_val)
    np.testing.assert_allclose(measured["acc"], averaged.best_score, rtol=1e-6)
    raw = averaged.model(data, raw=True).evaluate(data.x_val, data.y_val)
    np.testing.assert_allclose(raw["acc"], averaged.val_raw_history[averaged.best_epoch], rtol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("task", [Classification(), Regression()])
def test_an_accumulated_gradient_is_that_of_the_whole_batch(task, weighted):
    rng = np.random.default_rng(0)
    net = FCNet(4, (5,), 3, param_dtype="float64", reg=0.1)
    x = rng.normal(size=(12, 4))
    y = rng.integers(3, size=12) if task.targets == "classes" else rng.normal(size=(12, 3))
    weights = rng.random(12) * np.repeat([1, 0, 1, 1], 3) if weighted else None  # of one part, all are zero
    params = jax.tree.map(lambda leaf: jax.numpy.asarray(rng.normal(size=leaf.shape)), shapes(net)[0])

    def step(accumulate):
        # A step down a slope at rate 1 is the gradient. It donates its state.
        mine = jax.tree.map(jax.numpy.copy, params)
        state = TrainState(mine, (), optim.sgd.init(mine, learning_rate=1.0), jax.random.key(0), jax.numpy.int32(0))
        state, loss = train_step(net, optim.sgd, state, x, y, None, weights, task, accumulate)
        return state.params, loss

    chex.assert_trees_all_close(step(4), step(1), rtol=1e-10, atol=1e-13)


def test_a_run_in_parts_is_that_of_whole_batches(data, plain):
    parts = run(data, PLAIN, accumulate=4)
    np.testing.assert_allclose(parts.loss_history, plain.loss_history, rtol=1e-4)
    chex.assert_trees_all_close(parts.params, plain.params, rtol=1e-3, atol=1e-5)


EVERYTHING = {"ema_decay": 0.9, "augment": ("noise:0.1", "mixup:0.3"), "accumulate": 2, "callbacks": [lambda r: None]}


@pytest.fixture(scope="module")
def whole(data):
    return run(data, NET, **EVERYTHING)


def test_a_seed_gives_the_same_augmentations_and_another_seed_others(data, whole):
    assert_same_bits(run(data, NET, **EVERYTHING), whole)
    other = run(data, NET, order_seed=1, **EVERYTHING)
    assert (other.loss_history != whole.loss_history).all()
    assert whole.best_score > 0.9


def test_with_averages_and_augmentations_a_resumed_run_ends_with_the_same_bits(data, whole, tmp_path):
    with pytest.raises(Stop):
        run(data, NET, checkpoint=tmp_path / "c", **EVERYTHING | {"callbacks": [stop_after(2)]})
    assert_same_bits(run(data, NET, checkpoint=tmp_path / "c", resume=True, **EVERYTHING), whole)


def test_mixed_numbers_are_learned():
    data = numbers()
    assert run(data, PLAIN, augment=("mixup:0.2",), epochs=20).best_score > 0.8


@pytest.fixture(scope="module")
def images(data):
    """A model of images of 2 x 2 that was trained on mirrored ones."""
    data = dataclasses.replace(data, image_shape=(2, 2))
    return run(data, PLAIN, augment=("mirror",)).model(data)


def test_predictions_over_augmented_copies_are_their_mean(images, data):
    x = data.x_val
    alone, mirrored = images.prediction(x), images.prediction(x.reshape(-1, 2, 2)[:, :, ::-1].reshape(-1, 4))
    together = images.prediction(x, copies=3)
    # Of a row itself and three copies, each mirrored or not, some number is mirrored.
    candidates = np.stack([((4 - k) * alone + k * mirrored) / 4 for k in range(4)])
    nearest = np.abs(candidates - together).max(axis=2)
    np.testing.assert_allclose(nearest.min(axis=0), 0, atol=1e-6)
    assert set(nearest.argmin(axis=0)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(together, images.prediction(x, copies=3))
    assert images.evaluate(x, data.y_val, copies=3) == images.task.measure(together, data.y_val)


def test_copies_need_augmentations(plain, data):
    with pytest.raises(ValueError, match="copies=2: the model was trained without augmentations"):
        plain.model(data).prediction(data.x_val, copies=2)


def test_copies_of_a_saved_model_are_the_same(images, data, tmp_path):
    images.save(tmp_path / "m.safetensors")
    back = Model.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(back.prediction(data.x_val, copies=2), images.prediction(data.x_val, copies=2))
