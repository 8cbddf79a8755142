import numpy as np
import pytest

from jaxfc.data import load


def test_digits_are_those_of_scikit_learn_each_in_one_split():
    official = pytest.importorskip("sklearn.datasets").load_digits()
    data = load("digits")
    x = np.concatenate([data.x_train, data.x_val, data.x_test])
    y = np.concatenate([data.y_train, data.y_val, data.y_test])
    order = np.random.default_rng(0).permutation(1797)
    np.testing.assert_array_equal(x, official.data[order])
    np.testing.assert_array_equal(y, official.target[order])


def test_digits_splits_and_their_description():
    data = load("digits")
    assert [len(data.split(split)[0]) for split in ("train", "val", "test")] == [1297, 200, 300]
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int32)
    assert (data.name, data.image_shape, data.classes) == ("digits", (8, 8), tuple("0123456789"))
    assert (data.x_train.min(), data.x_train.max()) == (0, 16)
    # Every digit is in every split, in nearly equal numbers.
    assert all(np.bincount(data.split(split)[1], minlength=10).min() > 10 for split in ("train", "val", "test"))


def test_digits_are_normalized_by_the_training_rows():
    data = load("digits")
    z = np.asarray(data.normalizer(data.x_train))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.var(axis=0).mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(data.normalizer.mean, np.mean(data.x_train, axis=0), rtol=1e-6)


def test_digits_need_no_folder(tmp_path):
    assert len(load("digits", data_dir=tmp_path / "none").x_train) == 1297
