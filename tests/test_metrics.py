"""Counts by class."""

import numpy as np

from jaxfc import metrics


def test_confusion_counts_true_against_predicted():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(4, size=200), rng.integers(4, size=200)
    matrix = metrics.confusion_matrix(y, predicted, 5)
    for i in range(5):
        for j in range(5):
            assert matrix[i, j] == np.sum((y == i) & (predicted == j))


def test_class_accuracies_leave_absent_classes_out():
    np.testing.assert_array_equal(metrics.class_accuracies(np.array([[3, 1], [0, 0]])), [0.75, np.nan])


def test_the_table_has_a_line_for_each_class():
    lines = metrics.confusion_table(np.array([[3, 1], [0, 1000]]), ("cat", "a longer name")).splitlines()
    assert lines[2].split() == ["0", "cat", "0.7500", "4", "3", "1"]
    assert lines[3].split() == ["1", "a", "longer", "name", "1.0000", "1000", ".", "1000"]
    assert len({len(line) for line in lines[1:]}) == 1
