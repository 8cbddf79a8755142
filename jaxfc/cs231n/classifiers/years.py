"""What the assignment's years called dropout and batch normalization in `FullyConnectedNet`.

| years | arguments | no dropout | `dropout` is, and `p` of `dropout_forward` was |
|---|---|---|---|
| 2016, 2017 | `dropout=0, use_batchnorm=False` | `dropout=0` | "We drop each neuron output with probability p" |
| 2018 to 2020 | `dropout=1, normalization=None` | `dropout=1` | "We keep each neuron output with probability p" |
| from 2021 | `dropout_keep_ratio=1, normalization=None` | `dropout_keep_ratio=1` | the same, by a name that says so |
"""

import warnings
from typing import Any

import numpy as np


def of_any_year(
    keep_ratio: float, normalization: Any, dropout: float | None, use_batchnorm: bool | None
) -> tuple[float, str | None]:
    """The keep ratio and the normalization that arguments of any year mean.

    `use_batchnorm`, or True or False in the place of `normalization`, is 2016's and 2017's: `dropout`, or what
    stands in the place of the keep ratio, is then the probability to drop. Otherwise it is the probability to
    keep; with no normalization beside it, a warning says so. 0, and with the later names 1, is no dropout.

    Args:
        keep_ratio: what was given as `dropout_keep_ratio`, or fourth.
        normalization: what was given as `normalization`, or fifth.
        dropout: what was given as `dropout`, None if nothing was.
        use_batchnorm: what was given as `use_batchnorm`, likewise.

    Raises:
        ValueError: arguments that contradict each other, or a dropout outside its range.

    >>> of_any_year(1, None, 0.75, True), of_any_year(1, "batchnorm", 0.75, None)
    ((0.25, 'batchnorm'), (0.75, 'batchnorm'))
    >>> of_any_year(1, None, 0, None), of_any_year(1, None, 1, None), of_any_year(0.75, None, None, None)
    ((1, None), (1, None), (0.75, None))
    """
    if isinstance(normalization, bool | np.bool_):  # given by place, as in 2016: so is what stands before it
        if use_batchnorm is None and dropout is None and keep_ratio != 1:
            keep_ratio, dropout = 1, keep_ratio
        use_batchnorm, normalization = bool(normalization), None
    if use_batchnorm and normalization not in (None, "batchnorm"):
        raise ValueError(f"use_batchnorm=True and normalization={normalization!r}: name one of them")
    if use_batchnorm:
        normalization = "batchnorm"
    if dropout is None:
        return keep_ratio, normalization
    if keep_ratio != 1:
        raise ValueError(f"dropout={dropout} and dropout_keep_ratio={keep_ratio}: name one of them")
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout={dropout} must be in [0, 1]")
    if use_batchnorm is not None:
        if dropout == 1:
            raise ValueError("dropout=1 beside use_batchnorm drops everything; dropout=0 is none")
        return 1 - dropout, normalization
    if dropout in (0, 1):
        return 1, normalization
    if normalization is None:
        warnings.warn(
            f"dropout={dropout} is taken as the probability to keep, as in the assignments from 2018 on. "
            f"For 2016's and 2017's probability to drop add use_batchnorm=False, or write "
            f"dropout_keep_ratio={1 - dropout:g}; to keep that of today write dropout_keep_ratio={dropout:g}",
            stacklevel=3,
        )
    return dropout, normalization
