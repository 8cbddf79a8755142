"""Messages that several modules share."""

import numpy as np
import pytest

from jaxfc.errors import check_number, unknown_name


def test_the_nearest_name_is_given():
    assert "did you mean 'relu'?" in str(unknown_name("activation", "rleu", ["tanh", "relu"]))
    assert (
        str(unknown_name("activation", "xyz", ["tanh", "relu"])) == "unknown activation 'xyz': use one of: tanh, relu"
    )


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.5), np.int64(1), np.zeros(3)])
def test_numbers_in_range_and_arrays_pass(value):
    check_number("p", value, low=0, high=1)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (1.5, {"low": 0, "high": 1}, r"p=1\.5 must be a finite number in \[0, 1\]"),
        (0, {"low": 0, "exclude": "low"}, r"p=0 must be a finite number in \(0, inf\)"),
        (1, {"high": 1, "exclude": "high"}, r"\(-inf, 1\)"),
        (float("nan"), {}, "p=nan"),
        (np.float64("inf"), {}, "inf"),
    ],
)
def test_numbers_out_of_range_are_named(value, bounds, message):
    with pytest.raises(ValueError, match=message):
        check_number("p", value, **bounds)


@pytest.mark.parametrize("value", ["1", True, None])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match="must be a number"):
        check_number("p", value)
