import math
import os
import pickle
import warnings

import numpy as np
import pytest

from jaxfc.data import load
from jaxfc.errors import FormatError


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


def rows_of(data):
    """All rows of a data set with their labels, sorted, to compare sets of rows whatever the split."""
    parts = [data.split(split) for split in ("train", "val", "test")]
    return sorted((tuple(row), data.classes[label]) for x, y in parts for row, label in zip(x.tolist(), y, strict=True))


def table(labels, header="a,b,label"):
    """A table with the columns i and 2·i + 0.5 before the labels."""
    return "\n".join([header, *(f"{i},{2 * i + 0.5},{label}" for i, label in enumerate(labels))]) + "\n"


# --- .npz to train on ---


def test_npz_with_all_splits(tmp_path):
    rng = np.random.default_rng(0)
    x, x_val, x_test = rng.normal(3, 2, size=(50, 4)), rng.normal(size=(7, 4)), rng.normal(size=(9, 4))
    path = save(
        tmp_path / "d.npz",
        x=x, y=np.arange(50) % 3, x_val=x_val, y_val=np.arange(7) % 3, x_test=x_test, y_test=np.arange(9) % 3,
    )  # fmt: skip
    data = load(path)
    np.testing.assert_array_equal(data.x_train, x.astype(np.float32))
    np.testing.assert_array_equal(data.x_val, x_val.astype(np.float32))
    np.testing.assert_array_equal(data.x_test, x_test.astype(np.float32))
    np.testing.assert_array_equal(data.y_train, np.arange(50) % 3)
    assert (data.name, data.classes, data.image_shape, data.feature_names) == (path, ("0", "1", "2"), None, None)
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int32)
    z = np.asarray(data.normalizer(data.x_train))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-5)


def test_a_tenth_is_held_out_for_each_split_that_is_missing(tmp_path):
    x, y = np.arange(400, dtype=np.float64).reshape(200, 2), np.arange(200) % 2
    path = save(tmp_path / "d.npz", x=x, y=y)
    data = load(path)
    assert [len(data.split(split)[0]) for split in ("train", "val", "test")] == [160, 20, 20]
    assert rows_of(data) == sorted((tuple(row), str(label)) for row, label in zip(x.tolist(), y, strict=True))
    np.testing.assert_array_equal(data.x_val, load(path).x_val)
    assert np.ptp(data.x_val[:, 0]) > 100  # drawn from everywhere, not cut off an end
    # The normalizer is fitted on the training rows alone.
    np.testing.assert_allclose(data.normalizer.mean, data.x_train.mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(("given", "sizes"), [("val", [180, 5, 20]), ("test", [180, 20, 5])])
def test_a_split_that_is_given_stays_as_it_is(tmp_path, given, sizes):
    extra = {f"x_{given}": np.full((5, 2), 7.0), f"y_{given}": np.array([0, 1, 0, 1, 0])}
    data = load(save(tmp_path / "d.npz", x=np.ones((200, 2)), y=np.arange(200) % 2, **extra))
    assert [len(data.split(split)[0]) for split in ("train", "val", "test")] == sizes
    np.testing.assert_array_equal(data.split(given)[0], 7)


@pytest.mark.parametrize(
    ("shape", "image_shape"), [((28, 28), (28, 28)), ((3, 8, 8), (3, 8, 8)), ((8, 8, 3), None), ((12,), None)]
)
def test_bytes_stay_bytes_and_are_normalized_together(tmp_path, shape, image_shape):
    x = np.random.default_rng(0).integers(256, size=(100, *shape), dtype=np.uint8)
    data = load(save(tmp_path / "d.npz", x=x, y=np.arange(100) % 2))
    assert (data.x_train.dtype, data.x_train.shape) == (np.uint8, (80, math.prod(shape)))
    assert data.image_shape == image_shape
    assert np.shape(data.normalizer.scale) == ()
    assert {tuple(row) for row in data.x_train.tolist()} <= {tuple(row) for row in x.reshape(100, -1).tolist()}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.int64, np.uint16, bool])
def test_other_numbers_become_float32(tmp_path, dtype):
    x = np.tile(np.array([[0, 1]], dtype), (20, 1))
    data = load(save(tmp_path / "d.npz", x=x, y=np.arange(20) % 2))
    assert data.x_train.dtype == np.float32
    np.testing.assert_array_equal(data.x_train[0], [0, 1])


def test_text_labels_are_numbered_in_sorted_order_over_all_splits(tmp_path):
    path = save(
        tmp_path / "d.npz",
        x=np.ones((20, 2)), y=np.array(["pear", "fig"] * 10), x_val=np.ones((2, 2)), y_val=np.array(["kiwi", "pear"]),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="no training row is of the class 'kiwi', which validation rows are of"):
        data = load(path)
    assert data.classes == ("fig", "kiwi", "pear")
    np.testing.assert_array_equal(data.y_val, [1, 2])
    np.testing.assert_array_equal(np.unique(data.y_train), [0, 2])


ROWS = np.ones((20, 2))
LABELS = np.arange(20) % 2


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"x": ROWS}, FormatError, "lacks the array 'y'; it holds: x"),
        ({"x_train": ROWS, "y_train": LABELS}, FormatError, "lacks the array 'x'; it holds: x_train, y_train"),
        ({"x": ROWS, "y": LABELS, "x_val": ROWS}, FormatError, "holds 'x_val' but lacks the array 'y_val'"),
        ({"x": ROWS, "y": LABELS, "y_test": LABELS}, FormatError, "holds 'y_test' but lacks the array 'x_test'"),
        ({"x": ROWS, "y": LABELS.astype(float)}, TypeError, "train: y has type float64; labels must be integers"),
        ({"x": ROWS, "y": LABELS - 1}, ValueError, r"y\[0\] is -1"),
        ({"x": ROWS, "y": LABELS * 0}, ValueError, "every row has the same label"),
        ({"x": ROWS, "y": np.array(["a"] * 20)}, ValueError, "every row has the same label"),
        ({"x": ROWS, "y": np.array(["a", ""] * 10)}, ValueError, r"y\[1\] is empty"),
        ({"x": ROWS, "y": LABELS * 10**9}, ValueError, "y holds 1000000000, but .*np.unique"),
        ({"x": ROWS, "y": LABELS[:, None]}, ValueError, r"y has shape \(20, 1\)"),
        ({"x": ROWS, "y": np.array(["a", "b"] * 9)}, ValueError, r"y has shape \(18,\) where x has shape \(20, 2\)"),
        ({"x": ROWS * [1, np.nan], "y": LABELS}, ValueError, r"train: x\[0, 1\] is nan: remove or fill"),
        ({"x": ROWS * [1, -np.inf], "y": LABELS}, ValueError, r"train: x\[0, 1\] is -inf"),
        ({"x": ROWS * [1, 1e300], "y": LABELS}, ValueError, r"train: x\[0, 1\] is 1e\+300, too large for float32"),
        ({"x": ROWS.astype(str), "y": LABELS}, ValueError, "train: x has type <U32; features must be real numbers"),
        ({"x": ROWS[:, 0], "y": LABELS}, ValueError, r"x has shape \(20,\)"),
        ({"x": ROWS[:0], "y": LABELS[:0]}, ValueError, "nothing to train on"),
        ({"x": ROWS[:, :0], "y": LABELS}, ValueError, "nothing to train on"),
        ({"x": ROWS[:4], "y": LABELS[:4]}, ValueError, "4 rows are too few"),
        ({"x": ROWS, "y": LABELS, "x_val": ROWS[:, :1], "y_val": LABELS}, ValueError, r"val: x has shape \(20, 1\)"),
    ],
)
def test_npz_contents_that_cannot_be_used_are_named(tmp_path, arrays, error, message):
    with pytest.raises(error, match=message):
        load(save(tmp_path / "d.npz", **arrays))


def test_a_pickle_within_an_npz_is_refused_and_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    path = save(tmp_path / "d.npz", x=ROWS, y=np.array([Hostile()] * 20, object))
    with pytest.raises(FormatError, match="the array 'y' cannot be read"):
        load(path)
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(FormatError, match=r"raw\.npz is not a \.npz file"):
        load(str(tmp_path / "raw.npz"))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_a_truncated_npz_is_named(tmp_path, part):
    path = tmp_path / "d.npz"
    save(path, x=ROWS, y=LABELS)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(FormatError, match=r"d\.npz"):
        load(str(path))


def test_no_damage_to_an_npz_is_read_as_data(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "d.npz"
    np.savez_compressed(path, x=rng.normal(size=(50, 2)), y=np.arange(50) % 2)
    whole = path.read_bytes()
    for place in rng.integers(100, 400, size=50):  # in the contents of x, before the next array's header
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"d\.npz"):
            load(str(path))


def test_an_npy_file_by_the_name_of_npz(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    os.rename(tmp_path / "a.npy", tmp_path / "a.npz")
    with pytest.raises(FormatError, match="holds a single array"):
        load(str(tmp_path / "a.npz"))


def test_a_file_that_is_not_there_and_a_label_column_of_an_npz(tmp_path):
    for name in ("none.npz", "none.csv"):
        with pytest.raises(FileNotFoundError, match=name):
            load(str(tmp_path / name))
    with pytest.raises(ValueError, match=r"label='z' is for \.csv files"):
        load(save(tmp_path / "d.npz", x=ROWS, y=LABELS), label="z")


# --- .csv to train on ---


def test_csv_agrees_with_numpys_reader(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 5)) * 10.0 ** rng.integers(-8, 8, size=5)
    path = tmp_path / "d.csv"
    columns = np.column_stack([values, rng.integers(3, size=60)])
    np.savetxt(path, columns, delimiter=",", header="a,b,c,d,e,y", comments="", fmt=["%.9g"] * 5 + ["%d"])
    data = load(str(path))
    read = np.genfromtxt(path, delimiter=",", skip_header=1)
    expected = sorted(
        (tuple(row), str(int(y))) for row, y in zip(read[:, :5].astype(np.float32).tolist(), read[:, 5], strict=True)
    )
    assert rows_of(data) == expected
    assert (data.feature_names, data.classes, data.name) == (("a", "b", "c", "d", "e"), ("0", "1", "2"), str(path))
    assert (data.x_train.dtype, data.y_train.dtype, data.image_shape) == (np.float32, np.int32, None)
    assert [len(data.split(split)[0]) for split in ("train", "val", "test")] == [48, 6, 6]
    np.testing.assert_allclose(np.asarray(data.normalizer(data.x_train)).std(axis=0), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["pear", "fig"] * 5, ("fig", "pear")),
        (["10", "9"] * 5, ("9", "10")),
        (["-1", "1"] * 5, ("-1", "1")),
        (["2.0", "10.0"] * 5, ("2", "10")),
        (["1", "b", "10", "9"] * 3, ("1", "10", "9", "b")),
        (['"yes, always"', "no"] * 5, ("no", "yes, always")),
        (["été", "hiver"] * 5, ("hiver", "été")),
    ],
)
def test_csv_labels_are_numbered_in_order(tmp_path, labels, classes):
    data = load(write(tmp_path / "d.csv", table(labels)))
    assert data.classes == classes
    names = {row[0]: label for row, label in rows_of(data)}
    for i, label in enumerate(labels):
        assert names[i] == label.strip('"').removesuffix(".0")


@pytest.mark.parametrize(
    ("label", "features"),
    [
        *((label, ("a", "b")) for label in (None, "label", 2, -1, "-1")),
        *((label, ("b", "label")) for label in ("a", 0, "0", -3)),
        (1, ("a", "label")),
    ],
)
def test_the_label_column_by_name_or_index(tmp_path, label, features):
    text = "a,b,label\n" + "".join(f"{i % 2},{i % 3},{i % 5}\n" for i in range(20))
    data = load(write(tmp_path / "d.csv", text), label=label)
    assert data.feature_names == features
    assert len(data.classes) == {"label": 5, "a": 2, "b": 3}[({"a", "b", "label"} - set(features)).pop()]


def test_a_column_named_by_digits_goes_before_an_index(tmp_path):
    path = write(tmp_path / "d.csv", table([0, 1] * 5, header="2,1,0"))
    assert load(path, label="0").feature_names == ("2", "1")
    with pytest.warns(UserWarning, match="no training row"):  # each row has a class of its own
        assert load(path, label=0).feature_names == ("1", "0")


def test_byte_order_mark_line_ends_quotes_spaces_and_blank_lines(tmp_path):
    plain = load(write(tmp_path / "plain.csv", table(["u", "v"] * 10)))
    text = table(["u", "v"] * 10, header='"a", b ,label').replace(",", ", ").replace("\n", " \r\n")
    odd = load(write(tmp_path / "odd.csv", text + "\r\n\r\n", encoding="utf-8-sig"))
    assert odd.feature_names == ("a", "b")
    assert rows_of(odd) == rows_of(plain)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", FormatError, r"d\.csv is empty"),
        ("a,b,y\n", ValueError, "has a header but no rows"),
        ("a,b,y\n1,2,u\n\n1,3,v\n1,red,v\n", ValueError, "line 5: column 'b' is 'red', and no number: correct it"),
        ("a,b,y\n1,2,u\n1,-inf,v\n", ValueError, "line 3: column 'b' is -inf: numbers must be finite"),
        ("a,b,y\n1,1e300,u\n1,2,v\n", ValueError, r"line 2: column 'b' is 1e300: numbers must be finite, within"),
        ("a,b,y\n1,2,u\n1,2\n", FormatError, "line 3: 2 values where the header names 3 columns"),
        ("a,b,y\n1,2,u,3\n", FormatError, "line 2: 4 values where the header names 3 columns"),
        ("a,b,y\n1,2, \n", ValueError, "line 2: the label, column 'y', is missing"),
        ("a,b,y\n1,2,NaN\n", ValueError, "line 2: the label, column 'y', is missing"),
        ("a,a,y\n1,2,u\n", ValueError, "2 columns are named 'a'"),
        (",a,y\n1,2,u\n", ValueError, "column 0 has no name"),
        ("5.1,3.5,setosa\n4.9,3.0,virginica\n", FormatError, "starts with the value '5.1': its first line must name"),
        ("a b y\n1 2 u\n", ValueError, "only the column 'a b y': are its values separated by commas, semicolons"),
        (table(["u"] * 10), ValueError, "every row has the same label"),
        (table(["0.5", "1"] * 5), TypeError, "label '0.5' is not an integer"),
        (table(["u", "v"] * 2), ValueError, "4 rows are too few"),
        ('a,b,y\n1,2,"u\n1,2,v\n', FormatError, "line 3: unexpected end of data"),
    ],
)
def test_csv_contents_that_cannot_be_used_are_named(tmp_path, text, error, message):
    with pytest.raises(error, match=message) as caught:
        load(write(tmp_path / "d.csv", text))
    assert "too few" in message or str(tmp_path / "d.csv") in str(caught.value)


def test_a_csv_in_another_encoding_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"d\.csv is not text in UTF-8"):
        load(write(tmp_path / "d.csv", table(["é", "v"] * 5), encoding="latin-1"))
    with pytest.raises(FormatError, match=r"d\.csv is not text in UTF-8"):
        load(write(tmp_path / "d.csv", table(["u", "v"] * 5), encoding="utf-16"))


def test_an_unknown_label_column_names_the_nearest(tmp_path):
    path = write(tmp_path / "d.csv", table(["u", "v"] * 5))
    with pytest.raises(ValueError, match=r"unknown label column .*'lable': did you mean 'label'"):
        load(path, label="lable")
    for label in (3, "-4"):
        with pytest.raises(ValueError, match=rf"label column {label} is not in .*3 columns: a, b, label"):
            load(path, label=label)
