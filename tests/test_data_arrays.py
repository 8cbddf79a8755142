"""The types that arrays are stored in, and those they have on a device."""

import numpy as np
import pytest

from jaxfc.data import as_device_rows, as_stored
from jaxfc.data.arrays import blurred_column, narrowed


@pytest.mark.parametrize(
    ("values", "dtype", "stored"),
    [
        ([0, 255], np.uint8, np.uint8),
        ([0.1, 1e30], np.float32, np.float32),
        ([0.1, 0.2], np.float64, np.float64),
        ([True, False], bool, np.uint8),
        ([-128, 127], np.int8, np.float32),
        ([0, 65535], np.uint16, np.float32),
        ([0.1, 6e4], np.float16, np.float32),
        ([2**24, -(2**24)], np.int32, np.float32),
        ([2**24 + 1, 0], np.int32, np.float64),
        ([2**40, 3], np.int64, np.float32),
        ([2**40 + 1, 3], np.int64, np.float64),
        ([2**63, 3], np.uint64, np.float32),
        ([0.5, 0.1], ">f4", np.float32),
        ([0.5, 0.1], ">f8", np.float64),
    ],
)
def test_numbers_are_stored_without_loss(values, dtype, stored):
    x = np.array(values, dtype)
    out = as_stored(x)
    assert out.dtype == stored
    np.testing.assert_array_equal(out.astype(x.dtype), x)
    assert (out is x) == (x.dtype == stored)


@pytest.mark.parametrize("x", [np.array(["1"]), np.array([1j]), np.array([None])])
def test_what_is_no_number_is_refused(x):
    with pytest.raises(ValueError, match=r"mine: x has type .*; features must be real numbers"):
        as_stored(x, what="mine: x")


def test_only_float64_changes_on_the_way_to_a_device():
    x = np.random.default_rng(0).normal(size=(20, 3))
    assert as_device_rows(x, what="x", wide=True) is x
    np.testing.assert_array_equal(as_device_rows(x, what="x", wide=False), x.astype(np.float32))
    for dtype in (np.uint8, np.int32, np.float32):
        kept = np.ones((2, 2), dtype)
        assert as_device_rows(kept, what="x", wide=False) is kept


def test_numbers_too_large_for_float32_are_named():
    x = np.ones((3, 2))
    x[2, 1] = -1e39
    with pytest.raises(ValueError, match=r"mine: x_train\[2, 1\] is -1e\+39, too large for float32: rescale it"):
        as_device_rows(x, what="mine: x_train", wide=False)
    with pytest.raises(ValueError, match=r"y\[2\] is -1e\+39"):
        as_device_rows(x[:, 1], what="y", wide=False)


@pytest.mark.parametrize("shift", [1.7e9, -3e8, 2.0**25])
def test_a_column_that_float32_would_blur_is_named(shift):
    x = np.random.default_rng(0).normal(size=(50, 70))
    assert blurred_column(x) is None
    x[:, 66] += shift
    assert blurred_column(x) == 66
    names = tuple(f"f{i}" for i in range(70))
    with pytest.raises(
        ValueError, match=r"x: values of column 66 \('f66'\), such as .*: subtract an offset, or .*float64"
    ):
        as_device_rows(x, what="x", wide=False, names=names)
    with pytest.raises(ValueError, match="y: values of column 0, such as"):
        as_device_rows(x[:, 66], what="y", wide=False)
    assert narrowed(x, what="x") is x


@pytest.mark.parametrize(
    ("column", "is_blurred"),
    [
        (np.full(20, 0.1), False),  # a constant has nothing to blur
        (np.full(20, 1.7e9 + 0.3), False),
        (np.append(np.zeros(19), 1e-60), True),  # float32 holds nothing so small
        (1e6 + np.arange(20.0), False),
        (1e9 + 1e4 * np.arange(20.0), False),
        (1e9 + 100 * np.arange(20.0), True),
    ],
)
def test_a_column_is_blurred_where_rounding_is_a_hundredth_of_its_deviation(column, is_blurred):
    assert (blurred_column(column[:, None]) == 0) is is_blurred
    error = column - column.astype(np.float32)
    assert (np.ptp(error) > 0 and error.std() > 0.01 * column.std()) == is_blurred
