"""Counts of right and wrong answers by class."""

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    y: Int[np.ndarray, " rows"], predicted: Int[np.ndarray, " rows"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Count the rows of each true class (first axis) by the class predicted (second axis).

    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(y * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracies(confusion: Int[np.ndarray, "classes classes"]) -> Float[np.ndarray, " classes"]:
    """The fraction of each class's rows predicted right; NaN for a class without rows.

    >>> class_accuracies(np.array([[1, 1], [0, 4]]))
    array([0.5, 1. ])
    """
    rows = confusion.sum(axis=1)
    return np.divide(confusion.diagonal(), rows, out=np.full(len(rows), np.nan), where=rows > 0)


def confusion_table(confusion: Int[np.ndarray, "classes classes"], classes: tuple[str, ...]) -> str:
    """A table with a line for each true class: its accuracy, its rows, and how they were predicted.

    >>> print(confusion_table(np.array([[1, 1], [0, 4]]), ("cat", "dog")))
        class  accuracy   rows  predicted as
                                  0   1
      0   cat    0.5000      2    1   1
      1   dog    1.0000      4    .   4
    """
    name_width = max(5, *map(len, classes))
    width = max(4, len(str(confusion.max())) + 1)
    # Columns are headed by numbers: names would not fit.
    head = f"{'class':>{name_width + 4}} {'accuracy':>9} {'rows':>6}  predicted as"
    numbers = " " * (name_width + 4 + 10 + 7 + 1) + "".join(f"{i:>{width}}" for i in range(len(classes)))
    lines = [head, numbers]
    for i, (name, accuracy, counts) in enumerate(zip(classes, class_accuracies(confusion), confusion, strict=True)):
        cells = "".join(f"{count or '.':>{width}}" for count in counts)
        lines.append(f"{i:>3} {name:>{name_width}} {accuracy:>9.4f} {counts.sum():>6} {cells}")
    return "\n".join(lines)
