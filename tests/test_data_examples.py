"""Files with rows to predict on, and with labelled rows to evaluate on."""

import pickle
import warnings

import numpy as np
import pytest
from test_data_tables import rows_of, save, table, write

from jaxfc.data import load, read_examples, read_features
from jaxfc.errors import FormatError


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- inputs to predict on ---


def test_read_features_of_each_kind_of_file(tmp_path):
    x = np.arange(6, dtype=np.float64).reshape(3, 2)
    np.save(tmp_path / "x.npy", x)
    save(tmp_path / "x.npz", x=x, y=np.zeros(3))
    write(tmp_path / "x.csv", "a,b\n0,1\n2,3\n4,5\n")
    for name in ("x.npy", "x.npz", "x.csv"):
        read = read_features(tmp_path / name, num_features=2)
        np.testing.assert_array_equal(read, x)
        assert read.dtype == np.float32


def test_read_features_keeps_bytes_and_flattens(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2, 2), np.uint8))
    read = read_features(tmp_path / "x.npy", num_features=4)
    assert (read.shape, read.dtype) == ((3, 4), np.uint8)


def test_read_features_chooses_columns_by_name(tmp_path):
    path = write(tmp_path / "x.csv", "label,b,id,a\nu,1,x1,2\nv,3,x2,4\n")
    read = read_features(path, num_features=2, feature_names=("a", "b"))
    np.testing.assert_array_equal(read, [[2, 1], [4, 3]])
    with pytest.raises(ValueError, match="lacks the column 'c', a feature of the model; it has: label, b, id, a"):
        read_features(path, num_features=2, feature_names=("a", "c"))


def test_read_features_that_do_not_fit_the_model(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"x\.npy: x has shape \(3, 5\); it must be \(rows, 4\)"):
        read_features(tmp_path / "x.npy", num_features=4)
    with pytest.raises(ValueError, match="has 2 columns without a label column; the model takes 3 features"):
        read_features(write(tmp_path / "x.csv", "a,b\n1,2\n"), num_features=3)
    with pytest.raises(ValueError, match=r"x\.txt is not a \.npz, \.npy, .* file"):
        read_features(tmp_path / "x.txt", num_features=4)
    np.save(tmp_path / "x.npy", np.full((1, 4), np.nan))
    with pytest.raises(ValueError, match=r"x\[0, 0\] is nan"):
        read_features(tmp_path / "x.npy", num_features=4)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", pickle.dumps([1])])
def test_read_features_of_a_bad_npy(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.npy is not a \.npy file, or is corrupted"):
        read_features(tmp_path / "x.npy", num_features=4)


# --- labelled rows to evaluate on ---


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (["pear", "fig", "pear"], ("fig", "kiwi", "pear"), [2, 0, 2]),
        (["9", "10.0", "09"], ("9", "10"), [0, 1, 0]),
        (["1", "-1", "1"], ("-1", "1"), [1, 0, 1]),
        (["2", "0", "1"], ("fig", "kiwi", "pear"), [2, 0, 1]),
    ],
)
def test_read_examples_maps_labels_to_the_models_classes(tmp_path, labels, classes, indices):
    path = write(tmp_path / "t.csv", table(labels))
    x, y, _ = read_examples(path, classes=classes, num_features=2)
    np.testing.assert_array_equal(x, [[0, 0.5], [1, 2.5], [2, 4.5]])
    np.testing.assert_array_equal(y, indices)
    assert y.dtype == np.int32
    array = np.array(labels) if not labels[0].lstrip("-").isdigit() else np.array(labels, float).astype(int)
    _, y, _ = read_examples(save(tmp_path / "t.npz", x=x, y=array), classes=classes, num_features=2)
    np.testing.assert_array_equal(y, indices)


def test_read_examples_reads_back_what_load_numbered(tmp_path):
    path = write(tmp_path / "d.csv", table(["12", "5", "7"] * 10))
    data = load(path)
    x, y, _ = read_examples(path, classes=data.classes, num_features=2, feature_names=data.feature_names)
    assert sorted((tuple(row), data.classes[i]) for row, i in zip(x.tolist(), y, strict=True)) == rows_of(data)


def test_read_examples_names_an_unknown_label_and_where_it_is(tmp_path):
    path = write(tmp_path / "t.csv", table(["fig", "pera"]))
    with pytest.raises(ValueError, match=r"t\.csv, line 3: unknown label 'pera': did you mean 'pear'"):
        read_examples(path, classes=("fig", "pear"), num_features=2)
    path = save(tmp_path / "t.npz", x=np.ones((3, 2)), y=np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"t\.npz: y\[2\]: unknown label '2'"):
        read_examples(path, classes=("fig", "pear"), num_features=2)
    path = save(tmp_path / "t.npz", x=np.ones((3, 2)), y=np.array([0.0, 1.0, 2.0]))
    with pytest.raises(TypeError, match=r"t\.npz: y has type float64"):
        read_examples(path, classes=("fig", "pear"), num_features=2)


def test_read_examples_chooses_columns_by_name(tmp_path):
    path = write(tmp_path / "t.csv", "y,b,extra,a\nu,1,?,2\nv,3,?,4\n")
    x, y, _ = read_examples(path, classes=("u", "v"), num_features=2, feature_names=("a", "b"), label="y")
    np.testing.assert_array_equal(x, [[2, 1], [4, 3]])
    np.testing.assert_array_equal(y, [0, 1])
    with pytest.raises(ValueError, match="column 'a' cannot be the label"):
        read_examples(path, classes=("u", "v"), num_features=2, feature_names=("a", "b"))
    with pytest.raises(ValueError, match="has 3 columns beside the label column; the model takes 2 features"):
        read_examples(write(tmp_path / "t.csv", "a,b,c,y\n1,2,3,u\n"), classes=("u", "v"), num_features=2)
