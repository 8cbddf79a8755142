"""Files to regress and to label several times, examples with weights, soft targets."""

import numpy as np
import pytest

from jaxfc.data import load, read_examples, read_features
from jaxfc.errors import FormatError

RNG = np.random.default_rng(0)
ROWS = 40
A, B = RNG.normal(size=ROWS), RNG.normal(size=ROWS)
PRICE, TAX = 100 + 3 * A - B, A * B
RED, BIG = (A > 0).astype(int), (B > 0.5).astype(int)
HEAVY = RNG.integers(1, 5, size=ROWS) / 2


def write_csv(path, **columns):
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def save(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def all_rows(data):
    """The rows of all splits in the order of their first feature: `(x, y, w)`."""
    splits = ("train", "val", "test")
    x, y = (np.concatenate(part) for part in zip(*(data.split(split) for split in splits), strict=True))
    order = np.argsort(x[:, 0])
    weights = [data.weights(split) for split in splits]
    return x[order], y[order], None if weights[0] is None else np.concatenate(weights)[order]


def test_a_table_to_regress_agrees_with_its_columns(tmp_path):
    path = write_csv(tmp_path / "d.csv", a=A, b=B, tax=TAX, price=PRICE)
    data = load(path, task="regression")
    order = np.argsort(A.astype(np.float32))
    x, y, w = all_rows(data)
    np.testing.assert_array_equal(x, np.stack([A, B, TAX], axis=1).astype(np.float32)[order])
    np.testing.assert_array_equal(y, PRICE.astype(np.float32)[order])
    assert (data.targets, data.classes, data.target_names, w) == ("numbers", (), ("price",), None)
    assert (data.num_outputs, data.y_train.dtype) == (1, np.float32)
    two = load(path, task="regression", label="price, tax")
    np.testing.assert_array_equal(all_rows(two)[1], np.stack([PRICE, TAX], axis=1).astype(np.float32)[order])
    assert (two.target_names, two.feature_names, two.num_outputs) == (("price", "tax"), ("a", "b"), 2)


def test_a_table_with_several_labels(tmp_path):
    path = write_csv(tmp_path / "d.csv", red=RED, a=A, big=BIG, b=B)
    data = load(path, task="multilabel", label="red,big")
    _, y, _ = all_rows(data)
    np.testing.assert_array_equal(y, np.stack([RED, BIG], axis=1)[np.argsort(A.astype(np.float32))])
    assert (data.targets, data.classes, data.feature_names) == ("labels", ("red", "big"), ("a", "b"))
    assert data.y_train.dtype == np.uint8
    assert load(path, task="multilabel", label="red").classes == ("red",)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_weights_go_with_their_rows(tmp_path, task):
    columns = {"a": A, "w": HEAVY, "b": B, "y": RED if task != "regression" else PRICE}
    data = load(write_csv(tmp_path / "d.csv", **columns), task=task, weights="w")
    x, _, w = all_rows(data)
    np.testing.assert_array_equal(w, HEAVY[np.argsort(A.astype(np.float32))])
    assert (data.feature_names, x.shape[1], w.dtype) == (("a", "b"), 2, np.float32)
    last = {name: columns[name] for name in ("a", "b", "y", "w")}
    assert load(write_csv(tmp_path / "last.csv", **last), task=task, weights="w").feature_names == ("a", "b")


def test_arrays_to_regress_and_with_several_labels(tmp_path):
    x = np.stack([A, B], axis=1)
    path = save(
        tmp_path / "d.npz", x=x, y=np.stack([PRICE, TAX], axis=1), heavy=HEAVY, x_val=x[:5], y_val=np.ones((5, 2))
    )
    data = load(path, task="regression", weights="heavy")
    assert (data.num_outputs, data.target_names, data.w_val) == (2, None, None)
    assert (len(data.w_train), len(data.w_test)) == (36, 4)
    path = save(
        tmp_path / "d.npz", x=x, y=np.stack([RED, BIG], axis=1), w=HEAVY, x_val=x, y_val=np.ones((40, 2)), w_val=HEAVY
    )
    data = load(path, task="multilabel", weights="w")
    assert (data.classes, data.y_train.dtype) == (("0", "1"), np.uint8)
    np.testing.assert_array_equal(data.w_val, HEAVY)


def test_soft_targets_of_an_npz(tmp_path):
    soft = np.stack([RED * 0.8 + 0.1, 0.9 - RED * 0.8, np.zeros(ROWS)], axis=1)
    data = load(save(tmp_path / "d.npz", x=A[:, None], y=soft, x_test=A[:, None], y_test=RED))
    assert (data.classes, data.y_train.dtype, data.y_train.shape) == (("0", "1", "2"), np.float32, (36, 3))
    np.testing.assert_array_equal(data.y_test, RED)
    _, y, _ = read_examples(tmp_path / "d.npz", classes=data.classes, num_features=1)
    np.testing.assert_array_equal(y, soft.astype(np.float32))


def test_dates_in_seconds_stay_in_float64(tmp_path):
    sold = 1.7e9 + np.arange(ROWS)
    data = load(write_csv(tmp_path / "d.csv", sold=sold, a=A, y=RED))
    assert {part.dtype.name for part in (data.x_train, data.x_val, data.x_test)} == {"float64"}
    np.testing.assert_array_equal(all_rows(data)[0][:, 0], sold)
    one = write_csv(tmp_path / "one.csv", sold=[1.7e9 + 1], a=[0.5])
    assert read_features(one, num_features=2)[0, 0] == 1.7e9 + 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "regresion"}, ValueError, "unknown task 'regresion': did you mean 'regression'"),
        ({"task": "regression", "label": "kind"}, TypeError, "line 2: column 'kind' is 'u', .*--task classification"),
        (
            {"task": "regression", "label": "a,pric"},
            ValueError,
            "unknown label column .*: 'pric': did you mean 'price'",
        ),
        ({"task": "regression", "label": "a,a"}, ValueError, "column 'a' is named twice"),
        ({"task": "regression", "label": "a,b,red,w,price"}, ValueError, "no column left for features beside a"),
        ({"task": "regression", "label": "endless"}, ValueError, "line 2: column 'endless' is 'inf': targets must"),
        ({"task": "multilabel", "label": "red,w"}, ValueError, "line 2: column 'w' is '.*': a label must be 0 or 1"),
        ({"task": "multilabel", "label": "kind"}, ValueError, "line 2: column 'kind' is 'u': a label must be 0 or 1"),
        ({"label": "price"}, TypeError, "label '.*' is not an integer; .*task='regression'"),
        ({"label": "a,b"}, ValueError, "unknown label column"),
        ({"label": "red", "weights": "ww"}, ValueError, "unknown weights column .*: 'ww': did you mean 'w'"),
        ({"label": "w", "weights": "w"}, ValueError, "column 'w' is named twice"),
        (
            {"label": "red", "weights": "kind"},
            ValueError,
            "line 2: column 'kind' is 'u': weights must be finite numbers",
        ),
        (
            {"label": "red", "weights": "b"},
            ValueError,
            "line .: column 'b' is '-.*': weights must be finite numbers of",
        ),
    ],
)
def test_columns_that_do_not_fit_the_task_are_named(tmp_path, arguments, error, message):
    columns = {"a": A, "b": B, "red": RED, "w": HEAVY + 1, "price": PRICE}
    if "kind" in arguments.values():
        columns["kind"] = ["u", "v"] * (ROWS // 2)
    if "endless" in arguments.values():
        columns["endless"] = ["inf"] * ROWS
    with pytest.raises(error, match=message):
        load(write_csv(tmp_path / "d.csv", **columns), **arguments)


X = np.stack([A, B], axis=1)


@pytest.mark.parametrize(
    ("arrays", "arguments", "error", "message"),
    [
        ({"y": np.array(["u", "v"] * 20)}, {"task": "regression"}, TypeError, r"train: y has type <U1, y\[0\] is 'u'"),
        ({"y": PRICE[:30]}, {"task": "regression"}, ValueError, r"train: y has shape \(30,\) where x has shape"),
        ({"y": PRICE * np.nan}, {"task": "regression"}, ValueError, r"train: y\[0\] is nan"),
        ({"y": PRICE * 1e300}, {"task": "regression"}, ValueError, r"y\[0\] is .*, too large for float32"),
        ({"y": PRICE * 0}, {"task": "regression"}, ValueError, "target 0 is 0.0 in every row"),
        ({"y": RED}, {"task": "multilabel"}, ValueError, r"train: y has shape \(40,\) .* must be \(40, 1\)"),
        ({"y": X}, {"task": "multilabel"}, ValueError, r"train: y\[0, 0\] is .*; each label must be 0 or 1"),
        ({"y": RED}, {"weights": "w"}, FormatError, "lacks the array 'w'; it holds: x, y"),
        ({"y": RED, "w": HEAVY[:5]}, {"weights": "w"}, ValueError, r"d.npz: w has shape \(5,\): it must be \(40,\)"),
        ({"y": RED, "w": -HEAVY}, {"weights": "w"}, ValueError, r"d.npz: w\[0\] is -.*: weights must be finite"),
        ({"y": PRICE}, {}, TypeError, "y has type float64; labels must be integers.*task='regression'"),
        ({"y": X**2}, {}, ValueError, r"train: y\[0\] sums to .*; soft targets must sum to 1"),
    ],
)
def test_arrays_that_do_not_fit_the_task_are_named(tmp_path, arrays, arguments, error, message):
    with pytest.raises(error, match=message):
        load(save(tmp_path / "d.npz", x=X, **arrays), **arguments)


def test_named_data_sets_have_classes_and_no_weights():
    with pytest.raises(ValueError, match=r"task='regression' is for \.npz and \.csv files; digits has classes"):
        load("digits", task="regression")
    with pytest.raises(ValueError, match=r"weights='w' is for \.npz and \.csv files; digits has none"):
        load("digits", weights="w")


# --- rows to evaluate on ---


def test_rows_to_evaluate_a_regression_on(tmp_path):
    path = write_csv(tmp_path / "d.csv", price=PRICE, w=HEAVY, a=A, tax=TAX, b=B, note=["x"] * ROWS)
    known = {"classes": (), "num_features": 2, "feature_names": ("a", "b"), "targets": "numbers"}
    x, y, w = read_examples(path, **known, target_names=("tax", "price"), weights="w")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, np.stack([TAX, PRICE], axis=1))
    np.testing.assert_array_equal(w, HEAVY)
    swapped = read_examples(path, **known, target_names=("tax", "price"), label="price,tax")
    np.testing.assert_array_equal(swapped[1], y)
    _, y, w = read_examples(path, **known, target_names=("value",), label="price")
    np.testing.assert_array_equal(y, PRICE)
    assert w is None
    with pytest.raises(ValueError, match=r"1 label columns, price, where the model predicts 2: .* tax,price"):
        read_examples(path, **known, target_names=("tax", "price"), label="price")
    with pytest.raises(TypeError, match="line 2: column 'note' is 'x', no number to predict"):
        read_examples(path, **known)


def test_rows_to_evaluate_several_labels_on(tmp_path):
    path = write_csv(tmp_path / "d.csv", big=BIG, a=A, red=RED, b=B)
    known = {"classes": ("red", "big"), "num_features": 2, "targets": "labels"}
    _, y, _ = read_examples(path, **known)
    np.testing.assert_array_equal(y, np.stack([RED, BIG], axis=1))
    _, y, w = read_examples(save(tmp_path / "d.npz", x=X, y=y, w=HEAVY), **known, weights="w")
    np.testing.assert_array_equal(y, np.stack([RED, BIG], axis=1))
    np.testing.assert_array_equal(w, HEAVY)
    with pytest.raises(ValueError, match=r"d.npz: y has shape \(40, 1\) .* y must be \(40, 2\)"):
        read_examples(save(tmp_path / "d.npz", x=X, y=y[:, :1]), **known)


def test_rows_to_evaluate_that_have_only_one_value(tmp_path):
    path = save(tmp_path / "d.npz", x=X[:1], y=np.array([3.5]))
    x, y, _ = read_examples(path, classes=(), num_features=2, targets="numbers", target_names=("price",))
    assert (x.shape, y.tolist()) == ((1, 2), [3.5])
    with pytest.raises(ValueError, match=r"y has shape \(1,\) .* must be \(1, 2\)"):
        read_examples(path, classes=(), num_features=2, targets="numbers", target_names=("price", "tax"))
