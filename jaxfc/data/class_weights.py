"""Weights that make up for classes of unequal size."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from jaxfc.data.checks import is_soft
from jaxfc.data.dataset import Dataset
from jaxfc.errors import check_number, unknown_name


def with_class_weights(data: Dataset, weights: str | Mapping[str | int, Any]) -> Dataset:
    r"""Multiply the weights of the training examples by a weight of their class.

    `"balanced"` gives class $c$ of $C$ the weight $\sum_i w_i \,/\, (C \sum_{i:\, y_i = c} w_i)$, with which all
    classes weigh the same together, as in scikit-learn's `compute_class_weight`. Validation and test weights stay.

    Args:
        data: a data set of classes.
        weights: `"balanced"`, or the weights of some classes by name or by index; the others weigh 1.

    Raises:
        ValueError: targets that are no class indices, an unknown class or one named twice, a class without
            training rows, or weights that are negative, not finite or all 0.
        TypeError: a weight that is no number.

    >>> from jaxfc.data import load
    >>> data = with_class_weights(load("digits"), {"8": 3.0})
    >>> sorted(set(data.w_train[data.y_train == 8].tolist())), float(data.w_train.min())
    ([3.0], 1.0)
    """
    if data.targets != "classes" or is_soft(data.y_train):
        kind = "soft targets" if data.targets == "classes" else f"targets {data.targets!r}"
        raise ValueError(f"class weights need one class in each row; {data.name!r} has {kind}: leave them out")
    w = np.ones(len(data.y_train)) if data.w_train is None else data.w_train.astype(np.float64)
    totals = np.bincount(data.y_train, weights=w, minlength=len(data.classes))
    if weights == "balanced":
        _check_present(data, totals, range(len(totals)))
        by_class = totals.sum() / (len(totals) * totals)
    elif isinstance(weights, str):
        raise unknown_name("class weights", weights, ("balanced", "{CLASS: WEIGHT}"))
    else:
        indices = [_class_index(data, key) for key in weights]
        _check_present(data, totals, indices)
        _check_once(data, indices)
        by_class = np.ones(len(totals))
        by_class[indices] = [_class_weight(key, value) for key, value in weights.items()]
    return replace(data, w_train=w * by_class[data.y_train])


def _check_present(data: Dataset, totals: np.ndarray, indices: Iterable[int]) -> None:
    absent = [data.classes[index] for index in indices if not totals[index]]
    if absent:
        raise ValueError(
            f"class {absent[0]!r} has no training rows of weight above 0 in {data.name!r}: "
            "add rows of it, or give weights of other classes alone"
        )


def _check_once(data: Dataset, indices: list[int]) -> None:
    twice = [data.classes[index] for index in indices if indices.count(index) > 1]
    if twice:
        raise ValueError(f"class {twice[0]!r} has two weights, by name and by index: give one")


def _class_index(data: Dataset, key: str | int) -> int:
    if isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(data.classes):
        return key
    if key not in data.classes:
        raise unknown_name("class", key, data.classes)
    return data.classes.index(key)


def _class_weight(key: str | int, value: Any) -> float:
    check_number(f"the weight of class {key!r}", value, low=0)
    return float(value)
