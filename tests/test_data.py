"""Data sets: what is checked, how inputs are normalized, how an epoch's rows are chosen."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxfc import data
from jaxfc.data import Dataset, Normalizer


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(3, size=30).astype(np.int32)
    return Dataset("mine", x[:20], y[:20], x[20:], y[20:], None, None, ("a", "b", "c"), data.centred(x))


def test_normalizers_centre_and_scale():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(9000, 3)).astype(np.uint8) // np.uint8([1, 2, 255])
    each = np.asarray(data.standardized(x, per_feature=True)(x))
    np.testing.assert_allclose(each[:, :2].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(each[:, :2].std(0), 1, rtol=1e-4)
    together = np.asarray(data.standardized(x, per_feature=False)(x))
    np.testing.assert_allclose(np.sqrt((together**2).mean()), 1, rtol=1e-4)
    np.testing.assert_allclose(data.centred(x)(x), x - x.mean(0), atol=1e-3)


def test_a_feature_that_never_varies_becomes_zero():
    x = np.full((5, 2), 3, np.uint8)
    for per_feature in (True, False):
        np.testing.assert_array_equal(data.standardized(x, per_feature=per_feature)(x), 0)


def test_normalizers_compute_in_the_type_asked_for():
    out = jax.jit(lambda n, x: n(x, "bfloat16"))(Normalizer(np.zeros(2, np.float32), np.float32(1)), np.ones((1, 2)))
    assert out.dtype == "bfloat16"


@pytest.mark.parametrize(("rows", "batch"), [(20, 5), (23, 5), (7, 7), (9, 1)])
def test_a_shuffled_epoch_uses_each_row_at_most_once(rows, batch):
    plan = data.shuffled_plan(rows, batch, seed=3, epoch=1)
    assert plan.shape == (rows // batch, batch)
    assert len(set(plan.ravel())) == plan.size
    assert set(plan.ravel()) <= set(range(rows))


@pytest.mark.parametrize("plan", data.PLANS.values())
def test_plans_depend_on_seed_and_epoch_alone(plan):
    one = plan(50, 5, seed=3, epoch=1)
    np.testing.assert_array_equal(one, plan(50, 5, seed=3, epoch=1))
    assert (one != plan(50, 5, seed=3, epoch=2)).any()
    assert (one != plan(50, 5, seed=4, epoch=1)).any()


def test_rows_that_sit_out_an_epoch_differ_from_epoch_to_epoch():
    out = [frozenset(range(23)) - set(data.shuffled_plan(23, 5, seed=0, epoch=e).ravel()) for e in range(1, 9)]
    assert len(set(out)) > 4


def test_draws_with_replacement_repeat():
    plan = data.replacement_plan(50, 50, seed=0, epoch=1)
    assert len(set(plan.ravel())) < 50


@pytest.mark.parametrize("plan", data.PLANS.values())
@pytest.mark.parametrize("batch", [0, -1, 51])
def test_batches_that_cannot_be_filled_are_named(plan, batch):
    with pytest.raises(ValueError, match=f"batch_size={batch} must be from 1 to the number of training rows, 50"):
        plan(50, batch, seed=0, epoch=1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y_train": np.full(20, 3, np.int32)}, ValueError, r"mine: train: y\[0\] is 3; labels must lie in \[0, 3\)"),
        ({"y_val": np.full(10, -1, np.int32)}, ValueError, r"mine: val: y\[0\] is -1"),
        ({"y_train": np.zeros(20)}, TypeError, "y has type float64; labels must be integers"),
        ({"y_train": np.zeros(19, np.int32)}, ValueError, r"y has shape \(19,\) where x has shape \(20, 4\)"),
        ({"x_val": np.zeros((10, 5), np.float32)}, ValueError, r"x has shape \(10, 5\); it must be \(rows, 4\)"),
        ({"x_train": np.full((20, 4), np.nan, np.float32)}, ValueError, r"x\[0, 0\] is nan"),
        ({"x_train": np.full((20, 4), np.inf, np.float32)}, ValueError, r"x\[0, 0\] is inf"),
        ({"x_val": np.zeros((0, 4)), "y_val": np.zeros(0, np.int32)}, ValueError, "nothing to train on"),
        ({"x_test": np.zeros((1, 3)), "y_test": np.zeros(1, np.int32)}, ValueError, "mine: test"),
    ],
)
def test_bad_data_are_named(dataset, change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(dataset, **change)


def test_splits_and_subsets(dataset):
    np.testing.assert_array_equal(dataset.split("val")[0], dataset.x_val)
    assert len(dataset.subset(7).x_train) == 7
    with pytest.raises(ValueError, match="has no test rows"):
        dataset.split("test")
    with pytest.raises(ValueError, match="did you mean 'train'"):
        dataset.split("trian")
    for number in (0, 21):
        with pytest.raises(ValueError, match=f"num_train={number} must be from 1 to the 20 training rows"):
            dataset.subset(number)


def test_unknown_data_sets_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'cifar10'"):
        data.load("cifar")
    with pytest.raises(FileNotFoundError):
        data.load("absent.csv")


def test_mirror_images_are_appended_and_nothing_else_changes():
    digits = data.load("digits")
    both = digits.mirrored()
    rows = len(digits.x_train)
    np.testing.assert_array_equal(both.x_train[:rows], digits.x_train)
    np.testing.assert_array_equal(both.x_train[rows].reshape(8, 8), digits.x_train[0].reshape(8, 8)[:, ::-1])
    np.testing.assert_array_equal(both.y_train[rows:], digits.y_train)
    assert both.x_val is digits.x_val
    with pytest.raises(ValueError, match="no images to mirror"):
        dataclasses.replace(digits, image_shape=None).mirrored()
