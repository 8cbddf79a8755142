"""Data sets in files of arrays, `.npz` and `.npy`: their splits, targets and classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxfc.data import labels
from jaxfc.data.arrays import Array, as_targets, as_weights
from jaxfc.data.checks import check_examples, is_soft
from jaxfc.data.columns import Columns
from jaxfc.data.npz_file import as_features
from jaxfc.data.odd import check_alike, check_classes_repeat, warn_of_numbers
from jaxfc.data.readers import read_arrays
from jaxfc.errors import FormatError

# A label far beyond the number of rows is an identifier and no class index; a few rows may still
# hold labels of many classes.
_MOST_CLASSES = 1000


class Part(NamedTuple):
    """The inputs, targets and weights of a split."""

    x: Array
    y: np.ndarray
    w: np.ndarray | None

    def rows(self, indices: np.ndarray) -> "Part":
        """Return some of the rows."""
        return Part(*(array if array is None else array[indices] for array in self))


def npz_parts(path: Path, weights: str | None, stream: bool | None) -> tuple[dict[str, Part], tuple[int, ...] | None]:
    """Return the splits a `.npz` file holds, and the shape of an image where `x` holds images."""
    optional = ("x_val", "y_val", "x_test", "y_test")
    w_names = () if weights is None else (weights, f"{weights}_val", f"{weights}_test")
    arrays = read_arrays(path, required=("x", "y", *w_names[:1]), optional=(*optional, *w_names[1:]), stream=stream)
    for mine, other in zip(optional, ("y_val", "x_val", "y_test", "x_test"), strict=True):
        if mine in arrays and other not in arrays:
            raise FormatError(f"{path} holds {mine!r} but lacks the array {other!r}")
    shape = arrays["x"].shape[1:]
    is_image = arrays["x"].dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))
    parts = {}
    for split, suffix in (("train", ""), ("val", "_val"), ("test", "_test")):
        if f"x{suffix}" in arrays:
            x = as_features(arrays.pop(f"x{suffix}"), what=f"{path}: {split}")
            w = arrays.get(f"{weights}{suffix}")
            w = None if w is None else as_weights(w, len(x), what=f"{path}: {weights}{suffix}")
            parts[split] = Part(x, arrays[f"y{suffix}"], w)
    check_alike(
        {f"x{'' if split == 'train' else f'_{split}'}": part.x for split, part in parts.items()}, what=str(path)
    )
    return parts, shape if is_image else None


def npz_classes(parts: dict[str, Part], path: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the splits with labels as int32 class indices or soft targets, and the classes' names."""
    if all(part.y.dtype.kind in "US" for part in parts.values()):
        names = [_texts(part.x, part.y, what=f"{path}: {split}") for split, part in parts.items()]
        indices, classes = labels.encode([name for part in names for name in part], what=str(path))
        ends = np.cumsum([len(part) for part in names])[:-1]
        check_classes_repeat(len(classes), len(indices), what=f"{path}: y")
        split_indices = zip(parts.items(), np.split(indices, ends), strict=True)
        return {split: part._replace(y=y) for (split, part), y in split_indices}, classes
    targets = [part.y for part in parts.values()]
    highest = max((int(y.max()) for y in targets if y.size and y.dtype.kind in "iu"), default=0)
    num_classes = next((y.shape[1] for y in targets if is_soft(y)), highest + 1)
    for split, part in parts.items():
        check_examples(part.x, part.y, num_classes, what=f"{path}: {split}")
    labels.check_classes(num_classes, what=str(path))
    if highest >= max(_MOST_CLASSES, *map(len, targets)):
        raise ValueError(
            f"{path}: y holds {highest}, but labels must be class indices 0, 1, 2 and so on: "
            "number them with np.unique(y, return_inverse=True)"
        )
    train = parts["train"].y
    if not is_soft(train):
        distinct = len(np.unique(train))
        check_classes_repeat(distinct, len(train), what=f"{path}: y")
        warn_of_numbers((), distinct, len(train), what=f"{path}: y")
    stored = {split: part._replace(y=as_targets(part.y, "classes")) for split, part in parts.items()}
    return stored, tuple(map(str, range(num_classes)))


def npz_targets(parts: dict[str, Part], targets: str, path: Path) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Return the splits with checked labels or numbers, and the labels' names."""
    y = parts["train"].y
    num_outputs = y.shape[1] if y.ndim == 2 else 1
    for split, part in parts.items():
        check_examples(part.x, part.y, num_outputs, what=f"{path}: {split}", targets=targets)
    stored = {split: part._replace(y=as_targets(part.y, targets)) for split, part in parts.items()}
    return stored, tuple(map(str, range(num_outputs))) if targets == "labels" else ()


def npz_examples(
    path: Path,
    classes: Sequence[str],
    num_features: int,
    targets: str,
    target_names: Sequence[str] | None,
    weights: str | None,
    columns: Columns | None,
) -> tuple[Array, np.ndarray, np.ndarray | None]:
    """Return the rows of a file to evaluate a model on, their targets and their weights."""
    arrays = read_arrays(path, required=("x", "y", *(() if weights is None else (weights,))))
    x, y = arrays["x"], arrays["y"]
    x = as_features(x, what=str(path), num_features=num_features) if columns is None else columns.codes(x)
    w = None if weights is None else as_weights(arrays[weights], len(x), what=f"{path}: {weights}")
    if targets == "classes" and not is_soft(y):
        names = _texts(x, y, what=str(path), missing=columns is not None)
        return x, labels.look_up(names, classes, where=[f"{path}: y[{i}]" for i in range(len(names))]), w
    own = y.shape[1] if y.ndim == 2 else 1
    num_outputs = len(target_names or range(own)) if targets == "numbers" else len(classes)
    check_examples(x, y, num_outputs, what=str(path), targets=targets, missing=columns is not None)
    return x, as_targets(y, targets), w


def _texts(x: Array, y: np.ndarray, *, what: str, missing: bool = False) -> list[str]:
    """Return integer or text labels as text, after the checks that hold for both."""
    # A range is checked by look-up, which also serves classes named -1 and 1: here any label is in it.
    check_examples(x, np.zeros(y.shape, np.int32) if y.dtype.kind in "iuUS" else y, 1, what=what, missing=missing)
    if y.dtype.kind in "iu":
        return [str(label) for label in y.tolist()]
    texts = [text.strip() for text in y.astype(np.str_).tolist()]
    if "" in texts:
        raise ValueError(f"{what}: y[{texts.index('')}] is empty: fill it in, or remove the row")
    return texts
