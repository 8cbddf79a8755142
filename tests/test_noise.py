"""The error of ridge regression on rows left out is that of fitting it again without each of them."""

import numpy as np
import pytest

from jaxfc.data import Dataset, Normalizer
from jaxfc.training import noise, recipes


@pytest.mark.parametrize("shape", [(30, 4), (12, 40)])
def test_error_is_that_of_fits_without_each_row(shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=shape), rng.normal(size=(shape[0], 2))
    y[:, 0] += x[:, 0]
    errors = []
    centred = y - y.mean(axis=0)
    z = x - x.mean(axis=0)
    for ridge in noise.STRENGTHS:
        total = 0.0
        for row in range(len(x)):
            rest = np.arange(len(x)) != row
            # The mean is a coefficient without a penalty, fitted anew as well.
            inputs = np.column_stack([z, np.ones(len(z))])
            penalty = np.diag([ridge] * shape[1] + [0.0])
            fitted = np.linalg.solve(inputs[rest].T @ inputs[rest] + penalty, inputs[rest].T @ centred[rest])
            total += np.square(centred[row] - inputs[row] @ fitted).sum()
        errors.append(total / np.square(centred).sum())
    assert noise.unexplained(x, y) == pytest.approx(min(1.0, *errors))


def test_rows_of_no_weight_and_columns_that_never_vary_do_not_matter():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    y = x @ np.array([[1.0], [2.0], [0.0]]) + rng.normal(size=(50, 1))
    found = noise.unexplained(x, y)
    assert 0.05 < found < 0.5
    padded = [np.concatenate([each, np.full((20, each.shape[1]), 9.0)]).astype(np.float32) for each in (x, y)]
    same, weights = Normalizer(np.zeros(3, np.float32), np.float32(1)), np.repeat([1.0, 0.0], [50, 20])
    data = Dataset("d", *padded, *padded, None, None, (), same, targets="numbers", w_train=weights)
    assert recipes.noise_of(data) == pytest.approx(found, rel=1e-4)
    assert noise.unexplained(np.column_stack([x, np.ones(50)]), y) == pytest.approx(found)


def test_nothing_is_explained_by_nothing():
    assert noise.unexplained(np.zeros((10, 2)), np.arange(10.0)[:, None]) == 1
    assert noise.unexplained(np.eye(10), np.ones((10, 1))) == 1
