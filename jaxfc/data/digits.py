"""The UCI handwritten digits: small enough to ship with the package, so they need no download."""

from functools import partial
from pathlib import Path

import numpy as np

from jaxfc.data.dataset import Dataset
from jaxfc.data.normalizer import standardized


def load(data_dir: str | Path | None = None) -> Dataset:
    """Return 1,797 handwritten digits as 8×8 images: 1,297 to train on, 200 to validate, 300 to test.

    Rows are `(64,)` uint8 from 0 to 16, read row by row; labels are the digits. The split is random
    but always the same one.

    The digits are the test part of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
    Digits", UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49, under CC BY 4.0.
    `digits.npz` holds them unchanged and in the order of the source, as scikit-learn's `load_digits`
    gives them: `numpy.savez_compressed` of `x`, uint8 `(1797, 64)`, and `y`, uint8 `(1797,)`.

    Args:
        data_dir: not used; it is here because every loader takes it.

    >>> data = load()
    >>> data.x_train.shape, data.image_shape
    ((1297, 64), (8, 8))
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        x, y = file["x"], file["y"].astype(np.int32)
    # The source orders the digits by writer, so that a split without shuffling would separate writers.
    train, val, test = np.split(np.random.default_rng(0).permutation(len(x)), [1297, 1497])
    fit = partial(standardized, per_feature=False)
    return Dataset(
        name="digits",
        x_train=x[train],
        y_train=y[train],
        x_val=x[val],
        y_val=y[val],
        x_test=x[test],
        y_test=y[test],
        classes=tuple("0123456789"),
        normalizer=fit(x[train]),
        image_shape=(8, 8),
        fit_normalizer=fit,
    )
