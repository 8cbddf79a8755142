"""Weights of examples and of classes."""

import dataclasses

import numpy as np
import pytest

from jaxfc.data import Dataset, centred, with_class_weights


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), (np.arange(30) ** 2 % 3).astype(np.int32)
    y[::7] = 2
    return Dataset("mine", x[:20], y[:20], x[20:25], y[20:25], x[25:], y[25:], ("a", "b", "c"), centred(x))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
def test_weights_are_stored_as_float32_and_belong_to_a_split(dataset, dtype):
    w = np.arange(20).astype(dtype)
    data = dataclasses.replace(dataset, w_train=w, w_test=np.ones(5))
    assert (data.weights("train").dtype, data.weights("val")) == (np.float32, None)
    np.testing.assert_array_equal(data.weights("train"), w)
    np.testing.assert_array_equal(data.subset(7).weights("train"), w[:7])
    with pytest.raises(ValueError, match="did you mean 'test'"):
        data.weights("tests")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"w_train": np.ones(19)}, ValueError, r"mine: w_train has shape \(19,\): it must be \(20,\)"),
        ({"w_val": np.ones((5, 1))}, ValueError, r"mine: w_val has shape \(5, 1\): it must be \(5,\)"),
        ({"w_val": np.array([1, 1, -0.5, 1, 1])}, ValueError, r"w_val\[2\] is -0.5: weights must be finite and at"),
        ({"w_test": np.array([1, np.nan, 1, 1, 1])}, ValueError, r"w_test\[1\] is nan: weights must be finite"),
        ({"w_train": np.full(20, np.inf)}, ValueError, r"w_train\[0\] is inf: weights must be finite"),
        ({"w_train": np.full(20, 1e39)}, ValueError, r"w_train\[0\] is 1e\+39: weights must be finite"),
        ({"w_val": np.zeros(5)}, ValueError, "mine: w_val is 0 in all 5 rows: give at least one row"),
        ({"w_train": np.array(["1"] * 20)}, TypeError, "mine: w_train has type <U1: weights must be numbers"),
        ({"x_test": None, "y_test": None, "w_test": np.ones(5)}, ValueError, "w_test is given without x_test"),
    ],
)
def test_bad_weights_are_named(dataset, change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(dataset, **change)


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_weights_are_those_of_scikit_learn(dataset, weighted):
    reference = pytest.importorskip("sklearn.utils.class_weight")
    w = np.random.default_rng(1).integers(1, 4, size=20) if weighted else np.ones(20, int)
    data = with_class_weights(dataclasses.replace(dataset, w_train=w) if weighted else dataset, "balanced")
    # An integer weight is a row so often.
    expected = reference.compute_class_weight("balanced", classes=np.arange(3), y=np.repeat(dataset.y_train, w))
    np.testing.assert_allclose(data.w_train, w * expected[dataset.y_train], rtol=1e-6)
    totals = np.bincount(data.y_train, weights=data.w_train)
    np.testing.assert_allclose(totals, w.sum() / 3, rtol=1e-5)


def test_class_weights_multiply_those_of_training_examples_alone(dataset):
    w = np.arange(1, 21)
    weighted = dataclasses.replace(dataset, w_train=w, w_val=np.full(5, 3.0))
    data = with_class_weights(weighted, {"b": 4.0, 2: 0})
    np.testing.assert_array_equal(data.w_train, w * np.array([1, 4, 0])[dataset.y_train])
    np.testing.assert_array_equal(data.w_val, 3)
    assert data.w_test is None


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("balance", ValueError, "unknown class weights 'balance': did you mean 'balanced'"),
        ({"aa": 1}, ValueError, "unknown class 'aa': did you mean 'a'"),
        ({3: 1}, ValueError, "unknown class 3: use one of: a, b, c"),
        ({-1: 1}, ValueError, "unknown class -1"),
        ({True: 1}, ValueError, "unknown class True"),
        ({"a": -1.0}, ValueError, r"the weight of class 'a'=-1.0 must be a finite number in \[0, inf\)"),
        ({"a": float("nan")}, ValueError, "the weight of class 'a'=nan must be"),
        ({"a": "2"}, TypeError, "the weight of class 'a'='2' must be a number"),
        ({"a": 0, "b": 0, "c": 0}, ValueError, "w_train is 0 in all 20 rows"),
        ({"a": 1, 0: 2}, ValueError, "class 'a' has two weights, by name and by index"),
    ],
)
def test_bad_class_weights_are_named(dataset, weights, error, message):
    with pytest.raises(error, match=message):
        with_class_weights(dataset, weights)


def test_a_class_without_training_rows_is_named(dataset):
    absent = dataclasses.replace(dataset, y_train=dataset.y_train % 2)
    unweighted = dataclasses.replace(dataset, w_train=(dataset.y_train < 2).astype(float))
    for data in (absent, unweighted):
        for weights in ("balanced", {"c": 2.0}):
            with pytest.raises(ValueError, match="class 'c' has no training rows of weight above 0 in 'mine'"):
                with_class_weights(data, weights)
        assert with_class_weights(data, {"a": 2.0}).w_train.max() == 2


@pytest.mark.parametrize(
    ("targets", "y", "kind"),
    [
        ("classes", np.tile([1.0, 0, 0], (20, 1)), "soft targets"),
        ("labels", np.tile([1, 0, 0], (20, 1)), "targets 'labels'"),
        ("numbers", np.arange(20.0), "targets 'numbers'"),
    ],
)
def test_class_weights_need_one_class_in_each_row(dataset, targets, y, kind):
    classes = () if targets == "numbers" else dataset.classes
    held = {"y_val": y[:5], "y_test": y[:5]}
    data = dataclasses.replace(dataset, targets=targets, classes=classes, y_train=y, **held)
    with pytest.raises(ValueError, match=f"class weights need one class in each row; 'mine' has {kind}"):
        with_class_weights(data, "balanced")
