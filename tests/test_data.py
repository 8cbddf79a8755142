"""Data sets: what is checked, what is stored, how rows are taken and an epoch's rows chosen."""

import dataclasses

import numpy as np
import pytest

from jaxfc import data
from jaxfc.data import Dataset


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(3, size=30).astype(np.int32)
    return Dataset("mine", x[:20], y[:20], x[20:], y[20:], None, None, ("a", "b", "c"), data.centred(x))


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


def test_a_continuous_stream_has_every_row_once_before_any_comes_again():
    weights = np.where(np.arange(23) < 20, 0.5, 0)
    stream = np.concatenate(
        [data.continuous_plan(23, 5, seed=3, epoch=epoch, weights=weights).ravel() for epoch in range(1, 6)]
    )
    assert len(stream) == 5 * 20  # as many as in the epochs of 23 rows
    for start in range(0, 100, 20):
        assert sorted(stream[start : start + 20]) == list(range(20))
    assert stream[:20].tolist() != stream[20:40].tolist()
    few = data.continuous_plan(23, 20, seed=3, epoch=1, weights=np.where(np.arange(23) < 7, 1, 0))
    assert sorted(np.bincount(few.ravel())) == [2] + [3] * 6  # more in a batch than there are rows


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


# --- kinds of targets ---


def with_targets(dataset, targets, y, **changes):
    """The data set with other targets: `y` has 30 rows, of which the first 20 are for training."""
    classes = () if targets == "numbers" else dataset.classes
    return dataclasses.replace(
        dataset, **({"targets": targets, "y_train": y[:20], "y_val": y[20:], "classes": classes} | changes)
    )


SOFT = np.tile([0.5, 0.25, 0.25], (30, 1))
FLAGS = np.tile([[0, 1, 1], [1, 1, 0]], (15, 1))
NUMBERS = np.linspace(-1, 1, 30)


@pytest.mark.parametrize(
    ("targets", "y", "stored", "outputs"),
    [
        ("classes", np.arange(30) % 3, np.int32, 3),
        ("classes", (np.arange(30) % 3).astype(np.uint64), np.int32, 3),
        ("classes", SOFT, np.float32, 3),
        ("labels", FLAGS, np.uint8, 3),
        ("labels", FLAGS.astype(bool), np.uint8, 3),
        ("labels", FLAGS.astype(float), np.uint8, 3),
        ("numbers", NUMBERS, np.float64, 1),
        ("numbers", NUMBERS.astype(np.float32), np.float32, 1),
        ("numbers", NUMBERS.astype(np.float16)[:, None], np.float32, 1),
        ("numbers", np.stack([NUMBERS, -NUMBERS], axis=1), np.float64, 2),
        ("numbers", np.arange(30, dtype=np.uint8), np.float32, 1),
        ("numbers", np.arange(30) * (2**24 + 1), np.float64, 1),
    ],
)
def test_targets_of_each_kind_are_stored_in_its_type(dataset, targets, y, stored, outputs):
    data = with_targets(dataset, targets, y)
    assert (data.y_train.dtype, data.y_val.dtype, data.num_outputs) == (stored, stored, outputs)
    np.testing.assert_array_equal(np.concatenate([data.y_train, data.y_val]), y.astype(stored))


def test_soft_targets_may_be_validated_by_class_indices(dataset):
    data = dataclasses.replace(dataset, y_train=SOFT[:20])
    assert (data.y_train.shape, data.y_val.shape) == ((20, 3), (10,))


@pytest.mark.parametrize(
    ("targets", "y", "changes", "error", "message"),
    [
        ("class", NUMBERS, {}, ValueError, "unknown targets 'class': did you mean 'classes'"),
        ("classes", SOFT[:, :2], {}, ValueError, r"train: y has shape \(20, 2\) .* y must be \(20, 3\)"),
        ("classes", SOFT * 1.01, {}, ValueError, r"train: y\[0\] sums to 1.01; soft targets must sum to 1"),
        ("classes", SOFT * [-1, 3, 3], {}, ValueError, r"train: y\[0, 0\] is -0.5; a probability must"),
        ("classes", SOFT * [np.nan, 1, 1], {}, ValueError, r"train: y\[0, 0\] is nan; a probability must"),
        ("classes", NUMBERS, {}, TypeError, "y has type float64; labels must be integers.*task='regression'"),
        ("classes", np.full(30, 2**32), {}, ValueError, r"y\[0\] is 4294967296; labels must lie in \[0, 3\)"),
        ("labels", FLAGS[:, 0], {}, ValueError, r"train: y has shape \(20,\) .* y must be \(20, 3\)"),
        ("labels", FLAGS * 2, {}, ValueError, r"train: y\[0, 1\] is 2; each label must be 0 or 1"),
        ("labels", FLAGS * np.nan, {}, ValueError, r"train: y\[0, 0\] is nan; each label must be 0 or 1"),
        ("labels", FLAGS.astype(str), {}, TypeError, "train: y has type <U21; each label must be 0 or 1"),
        ("numbers", NUMBERS * np.inf, {}, ValueError, r"train: y\[0\] is -inf: remove or fill"),
        ("numbers", np.append(NUMBERS[:-1], np.nan), {}, ValueError, r"val: y\[9\] is nan: remove or fill"),
        ("numbers", np.array(["red"] * 30), {}, TypeError, r"y\[0\] is 'red'; .*--task classification"),
        ("numbers", NUMBERS, {"y_val": np.ones((10, 2))}, ValueError, r"val: y has shape \(10, 2\) .*\(10, 1\)"),
        ("numbers", NUMBERS * 0 + 2.5, {}, ValueError, "train: target 0 is 2.5 in every row: there is nothing"),
        (
            "numbers",
            np.stack([NUMBERS, np.zeros(30)], axis=1),
            {"target_names": ("price", "tax")},
            ValueError,
            r"train: target 1 \('tax'\) is 0.0 in every row",
        ),
        ("numbers", NUMBERS, {"target_names": ("a", "b")}, ValueError, "names 2 numbers where a row has 1"),
        ("numbers", NUMBERS, {"classes": ("a",)}, ValueError, "where targets are numbers: name them by target_names"),
    ],
)
def test_bad_targets_are_named(dataset, targets, y, changes, error, message):
    with pytest.raises(error, match=message):
        with_targets(dataset, targets, y, **changes)


def test_held_out_numbers_may_be_constant(dataset):
    assert with_targets(dataset, "numbers", NUMBERS, y_val=np.ones(10)).y_val.tolist() == [1] * 10


# --- rows taken, and fingerprints ---


def test_rows_taken_carry_their_targets_and_weights_and_refit_the_normalizer(dataset):
    w = np.arange(1, 21)
    rows, held = np.array([3, 1, 12]), np.array([0, 19])
    weighted = dataclasses.replace(dataset, w_train=w, w_val=np.ones(10), fit_normalizer=data.centred)
    fold = weighted.take(rows, held)
    np.testing.assert_array_equal(fold.x_train, dataset.x_train[rows])
    np.testing.assert_array_equal(fold.y_val, dataset.y_train[held])
    assert (fold.w_train.tolist(), fold.w_val.tolist()) == ([4, 2, 13], [1, 20])
    np.testing.assert_allclose(fold.normalizer.mean, dataset.x_train[rows].mean(axis=0), rtol=1e-6)
    kept = dataset.take(rows, held)
    assert kept.normalizer is dataset.normalizer
    assert kept.w_val is None


def test_the_readers_say_how_to_fit_their_normalizer():
    digits = data.load("digits")
    np.testing.assert_array_equal(digits.fit_normalizer(digits.x_train).scale, digits.normalizer.scale)
    few = digits.take(np.arange(100), np.arange(100, 200)).normalizer
    np.testing.assert_allclose(few.mean, digits.x_train[:100].mean(axis=0), rtol=1e-6)


def test_one_entry_more_or_less_changes_the_fingerprint(dataset):
    def changed(name):
        array = np.array(getattr(dataset, name))
        array.flat[0] = (array.flat[0] + 1) % 3
        return dataclasses.replace(dataset, **{name: array})

    others = [changed(name) for name in ("x_train", "y_train", "x_val", "y_val")]
    others += [
        dataclasses.replace(dataset, classes=("a", "b", "d")),
        dataclasses.replace(dataset, w_train=np.ones(20)),
        dataclasses.replace(dataset, w_val=np.ones(10)),
        dataclasses.replace(dataset, x_train=dataset.x_train.astype(np.float64)),
        dataclasses.replace(dataset, normalizer=data.standardized(dataset.x_train, per_feature=True)),
        dataset.subset(19),
    ]
    prints = [one.fingerprint() for one in (dataset, *others)]
    assert len(set(prints)) == len(prints)
    assert all(len(one) == 16 for one in prints)
    assert dataclasses.replace(dataset, name="another", x_train=dataset.x_train.copy()).fingerprint() == prints[0]


def test_the_test_rows_and_the_layout_in_memory_leave_the_fingerprint(dataset):
    x = np.asfortranarray(dataset.x_train)
    same = dataclasses.replace(dataset, x_train=x, x_test=dataset.x_val, y_test=dataset.y_val)
    assert same.fingerprint() == dataset.fingerprint()
