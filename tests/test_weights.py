"""Weights of examples: a weight of two is the example twice, in the loss and in all that is measured."""

import dataclasses

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from examples import PLAIN, blobs, labels, numbers, run

from jaxfc import Classification, Multilabel, Regression, layers

ROWS = 40
WEIGHTS = np.random.default_rng(5).integers(0, 4, size=ROWS)
V = np.array([1, 2.5, 1], np.float32)  # weights of classes


def weighted(data):
    """The first rows of a data set, with whole numbers as weights, zeros among them; and each row so often instead."""
    parts = {f"{part}_{split}": getattr(data, f"{part}_{split}")[:ROWS] for part in "xy" for split in ("train", "val")}
    repeated = {name: np.repeat(part, WEIGHTS, axis=0) for name, part in parts.items()}
    weights = {"w_train": WEIGHTS, "w_val": WEIGHTS}
    return dataclasses.replace(data, **parts, **weights), dataclasses.replace(data, **repeated)


def full_batch(data, task=None, **kwargs):
    """A training in which every batch is the whole data set, so that the order of rows is nothing."""
    settings = {"hyper": {"learning_rate": 0.1}, "batch_size": len(data.x_train), "epochs": 5, "task": task}
    return run(data, PLAIN, "sgd", **settings | kwargs)


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (blobs, Classification(label_smoothing=0.1, rank="log_loss")),
        (blobs, Classification(criterion="hinge")),
        (labels, Multilabel(rank="log_loss")),
        (numbers, Regression()),
    ],
)
def test_a_weight_of_two_is_the_example_twice(make, task):
    data, repeated = weighted(make())
    ours, theirs = full_batch(data, task), full_batch(repeated, task)
    chex.assert_trees_all_close(ours.params, theirs.params, rtol=1e-5, atol=1e-5)
    for name in ("loss_history", "train_history", "val_history", "val_loss_history"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-5, err_msg=name)
    chex.assert_trees_all_close(ours.task, theirs.task, rtol=1e-6)
    model = ours.model(data)
    measured = model.evaluate(data.x_val, data.y_val, data.w_val)
    expected = model.evaluate(repeated.x_val, repeated.y_val)
    assert measured == pytest.approx(expected, rel=1e-6)


def test_class_weights_are_weights_of_the_classes_examples():
    data, _ = weighted(blobs())
    by_hand = dataclasses.replace(data, w_train=data.w_train * np.array([1, 2.5, 1])[data.y_train])
    ours, theirs = full_batch(data, class_weight={"b": 2.5}), full_batch(by_hand)
    chex.assert_trees_all_equal(ours.params, theirs.params)
    np.testing.assert_array_equal(ours.val_history, theirs.val_history)  # validation rows keep their weights


def test_a_task_may_have_the_weights_of_classes():
    data, _ = weighted(blobs())
    by_hand = dataclasses.replace(data, w_train=data.w_train * V[data.y_train], w_val=data.w_val * V[data.y_val])
    ours, theirs = full_batch(data, Classification(class_weights=V)), full_batch(by_hand)
    chex.assert_trees_all_close(ours.params, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(ours.val_loss_history, theirs.val_loss_history, rtol=1e-6)  # validation rows' loss too
    model = ours.model(data)
    assert model.evaluate(data.x_val, data.y_val, data.w_val)["acc"] == pytest.approx(
        np.average(model.predict(data.x_val) == data.y_val, weights=data.w_val)
    )  # what is measured beside the loss is not


def test_mixtures_weigh_what_their_classes_do():
    y = np.array([[1, 0, 0], [0.5, 0.5, 0]], np.float32)
    np.testing.assert_allclose(layers.by_class(V, y, 3), [1, 1.75])
    np.testing.assert_allclose(layers.by_class(V, np.array([0, 1]), 3, jnp.array([2.0, 3.0])), [2, 7.5])


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(2, np.float32), ValueError, r"class_weights of shape \(2,\): need \(3,\), a number for each"),
        (np.array([1.0, -1.0, 1.0]), ValueError, "must be finite numbers of at least 0"),
        ("balanced", TypeError, "class_weights='balanced': give an array"),
    ],
)
def test_bad_weights_of_a_task_are_named(weights, error, message):
    with pytest.raises(error, match=message):
        full_batch(blobs(), Classification(class_weights=weights))


def test_balanced_classes_weigh_the_same():
    data, _ = weighted(blobs())
    totals = np.bincount(data.y_train, data.w_train)
    by_hand = dataclasses.replace(data, w_train=data.w_train / totals[data.y_train])
    ours, theirs = full_batch(data, class_weight="balanced"), full_batch(by_hand)
    chex.assert_trees_all_close(ours.params, theirs.params, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_batches_whose_weights_are_all_zero_change_nothing(accumulate):
    data, _ = weighted(blobs())
    data = dataclasses.replace(data, w_train=np.eye(ROWS)[0])  # a single row counts
    result = full_batch(data, batch_size=8, accumulate=accumulate)
    assert all(np.isfinite(leaf).all() for leaf in (*result.params[0].values(), result.loss_history))
    assert (result.loss_history.reshape(5, 5) > 0).sum(axis=1).tolist() == [1] * 5
