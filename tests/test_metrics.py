"""Metrics against scikit-learn, against repeated rows, and in compiled programs; counts by class."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from jaxfc import metrics

QUANTILES = (0.1, 0.5, 0.8)


def classification(rng, classes, rows):
    """Probabilities of few patterns, so that there are ties; labels of which every class has some."""
    patterns = rng.dirichlet(np.ones(classes), size=7)
    y = rng.permutation(np.r_[np.arange(classes), np.arange(classes), rng.integers(classes, size=rows)])
    return patterns[rng.integers(7, size=len(y))], y


def multilabel(rng, labels, rows):
    y = rng.permuted(np.r_[[[0] * labels, [1] * labels], rng.integers(2, size=(rows, labels))], axis=0)
    return rng.integers(11, size=y.shape) / 10, y


def regression(rng, outputs, rows):
    y = rng.normal(size=(rows, outputs)) * 3 + 5
    return y + rng.normal(size=y.shape), y


def quantiles(rng, targets, rows):
    return rng.normal(size=(rows, targets * len(QUANTILES))), rng.normal(size=(rows, targets))


def sk_auc(p, y, weights):
    if p.shape[1] == 2:
        return sk.roc_auc_score(y, p[:, 1], sample_weight=weights)
    return sk.roc_auc_score(y, p, sample_weight=weights, multi_class="ovr")


def sk_multilabel_log_loss(p, y, weights):
    return np.mean([sk.log_loss(y[:, k], p[:, k], sample_weight=weights) for k in range(y.shape[1])])


def sk_pinball(p, y, weights):
    p = p.reshape(len(p), y.shape[1], len(QUANTILES))
    losses = [
        sk.mean_pinball_loss(y, p[..., i], sample_weight=weights, alpha=alpha) for i, alpha in enumerate(QUANTILES)
    ]
    return np.mean(losses)


CASES = {
    "accuracy": (metrics.accuracy, classification, lambda p, y, w: sk.accuracy_score(y, p.argmax(1), sample_weight=w)),
    "balanced_accuracy": (
        metrics.balanced_accuracy,
        classification,
        lambda p, y, w: sk.balanced_accuracy_score(y, p.argmax(1), sample_weight=w),
    ),
    "f1": (
        metrics.f1,
        classification,
        lambda p, y, w: sk.f1_score(y, p.argmax(1), average="macro", zero_division=0, sample_weight=w),
    ),
    "log_loss": (metrics.log_loss, classification, lambda p, y, w: sk.log_loss(y, p, sample_weight=w)),
    "auc": (metrics.auc, classification, sk_auc),
    "multilabel_f1": (
        metrics.multilabel_f1,
        multilabel,
        lambda p, y, w: sk.f1_score(y, p >= 0.5, average="macro", zero_division=0, sample_weight=w),
    ),
    "multilabel_auc": (metrics.multilabel_auc, multilabel, lambda p, y, w: sk.roc_auc_score(y, p, sample_weight=w)),
    "multilabel_log_loss": (metrics.multilabel_log_loss, multilabel, sk_multilabel_log_loss),
    "exact_match": (metrics.exact_match, multilabel, lambda p, y, w: sk.accuracy_score(y, p >= 0.5, sample_weight=w)),
    "r2": (metrics.r2, regression, lambda p, y, w: sk.r2_score(y, p, sample_weight=w)),
    "rmse": (metrics.rmse, regression, lambda p, y, w: np.sqrt(sk.mean_squared_error(y, p, sample_weight=w))),
    "mae": (metrics.mae, regression, lambda p, y, w: sk.mean_absolute_error(y, p, sample_weight=w)),
    "pinball": (partial(metrics.pinball, quantiles=QUANTILES), quantiles, sk_pinball),
}
# Compiled as a whole: operation by operation, each would compile a dozen programs for every shape.
CASES = {name: (jax.jit(function), *rest) for name, (function, *rest) in CASES.items()}
each_metric = pytest.mark.parametrize("name", CASES)


@each_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_against_scikit_learn(x64, name, weighted):
    function, draw, oracle = CASES[name]
    rng = np.random.default_rng(len(name))
    for columns in (2, 3, 5):
        p, y = draw(rng, columns, int(rng.integers(5, 60)))
        weights = rng.uniform(0.1, 3, size=len(p)) if weighted else None
        value = function(p, y, weights)
        assert value.dtype == jnp.float64
        np.testing.assert_allclose(value, oracle(p, y, weights), rtol=1e-12)


@each_metric
def test_weights_are_repetitions_and_nothing_counts_in_a_row_of_weight_zero(x64, name):
    function, draw, _ = CASES[name]
    rng = np.random.default_rng(len(name))
    p, y = draw(rng, 3, 30)
    weights = rng.integers(4, size=len(p))
    repeated = function(np.repeat(p, weights, axis=0), np.repeat(y, weights, axis=0))
    p[weights == 0] = np.nan
    np.testing.assert_allclose(function(p, y, weights), repeated, rtol=1e-12)


@each_metric
def test_compiled_and_mapped_over_predictions_and_weights(name):
    function, draw, _ = CASES[name]
    rng = np.random.default_rng(len(name))
    p, y = draw(rng, 3, 30)
    p, weights = rng.permuted(np.stack([p] * 3), axis=1), rng.uniform(size=(3, len(y)))
    mapped = jax.jit(jax.vmap(function, in_axes=(0, None, 0)))(p, y, weights)
    np.testing.assert_allclose(mapped, [function(*each) for each in zip(p, [y] * 3, weights, strict=True)], rtol=1e-5)


@each_metric
def test_sums_run_in_float32_at_least(name):
    function, draw, _ = CASES[name]
    p, y = draw(np.random.default_rng(0), 3, 3000)
    rounded = jnp.asarray(p, jnp.bfloat16)
    value = function(rounded, y)
    assert value.dtype == jnp.float32
    assert value == function(rounded.astype(jnp.float32), y)


@each_metric
def test_no_weight_at_all_is_nan(name):
    function, draw, _ = CASES[name]
    p, y = draw(np.random.default_rng(0), 3, 10)
    assert np.isnan(function(p, y, np.zeros(len(p))))


def test_certain_answers_have_a_finite_log_loss(x64):
    p, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    np.testing.assert_allclose(metrics.log_loss(p, y), sk.log_loss(y, p), rtol=1e-12)
    assert np.isfinite(metrics.log_loss(np.float32(p), y))
    assert np.isfinite(metrics.multilabel_log_loss(np.float32(p), np.array([[0, 1], [0, 1]])))


def test_soft_targets_have_their_most_probable_class_as_label_and_a_cross_entropy(x64):
    rng = np.random.default_rng(0)
    p, soft = rng.dirichlet(np.ones(4), size=(2, 30))
    for name in ("acc", "balanced_acc", "f1", "auc"):
        function = metrics.CLASSIFICATION[name].function
        np.testing.assert_array_equal(function(p, soft), function(p, soft.argmax(axis=1)))
    np.testing.assert_allclose(metrics.log_loss(p, soft), -(soft * np.log(p)).sum(axis=1).mean(), rtol=1e-12)


def test_absent_classes_are_left_out(x64):
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet(np.ones(4), size=50), rng.integers(1, 3, size=50)  # neither class 0 nor class 3
    np.testing.assert_allclose(metrics.f1(p, y), sk.f1_score(y, p.argmax(axis=1), average="macro"), rtol=1e-12)
    recalls = [(p.argmax(axis=1) == y)[y == i].mean() for i in (1, 2)]
    np.testing.assert_allclose(metrics.balanced_accuracy(p, y), np.mean(recalls), rtol=1e-12)
    areas = [sk.roc_auc_score(y == i, p[:, i]) for i in (1, 2)]
    np.testing.assert_allclose(metrics.auc(p, y), np.mean(areas), rtol=1e-12)


def test_absent_labels_have_no_auc_and_no_f1(x64):
    p, y = np.array([[0.1, 0.9], [0.2, 0.1]]), np.array([[0, 1], [0, 0]])
    assert metrics.multilabel_auc(p, y) == 1
    assert metrics.multilabel_f1(p, y) == 0.5


def test_one_class_has_no_auc():
    assert np.isnan(metrics.auc(np.full((3, 2), 0.5, np.float32), np.zeros(3, int)))
    assert np.isnan(metrics.multilabel_auc(np.full((3, 2), 0.5, np.float32), np.ones((3, 2), int)))


def test_the_auc_takes_no_memory_for_pairs():
    p, y = jnp.zeros((20_000, 3)), jnp.zeros(20_000, jnp.int32)
    memory = jax.jit(metrics.auc).lower(p, y).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 200 * p.size


@pytest.mark.parametrize("labels", [np.uint8, np.int8])
def test_labels_of_a_type_that_the_number_of_classes_does_not_fit(labels):
    p, y = np.eye(300, dtype=np.float32)[:100], np.arange(100, dtype=labels)
    assert metrics.balanced_accuracy(p, y) == metrics.f1(p, y) == metrics.auc(p, y) == 1


def test_r2_of_constant_targets():
    y = np.full(1000, 0.1, np.float32)  # their mean rounds
    p = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
    assert metrics.r2(y[:, None], y) == 1
    assert metrics.r2(p, y) == 0
    assert metrics.r2(np.stack([y, p[:, 0]], axis=1), np.stack([y, p[:, 0] + 1], axis=1)) < 0.5


def test_targets_of_one_output_need_no_second_axis():
    p, y = np.float32([[1], [2], [4]]), np.float32([1, 3, 3])
    for metric in metrics.REGRESSION.values():
        assert metric.function(p, y) == metric.function(p, y[:, None])


def test_targets_of_another_shape():
    with pytest.raises(ValueError, match=r"predictions \(5, 2\), targets \(5, 1\); need one prediction for each"):
        metrics.rmse(np.zeros((5, 2), np.float32), np.zeros(5))


@pytest.mark.parametrize(
    ("table", "draw"),
    [(metrics.CLASSIFICATION, classification), (metrics.MULTILABEL, multilabel), (metrics.REGRESSION, regression)],
)
def test_better_predictions_are_better_the_way_a_metric_says(table, draw):
    _, y = draw(np.random.default_rng(0), 3, 100)
    best = np.eye(3)[y] if y.ndim == 1 else y.astype(float)
    for name, metric in table.items():
        assert metric.name == name
        good, bad = metric.function(best, y), metric.function(best[::-1].copy(), y)
        assert (good > bad) == metric.higher


def test_confusion_counts_true_against_predicted():
    rng = np.random.default_rng(0)
    y, predicted = rng.integers(4, size=200), rng.integers(4, size=200)
    matrix = metrics.confusion_matrix(y, predicted, 5)
    for i in range(5):
        for j in range(5):
            assert matrix[i, j] == np.sum((y == i) & (predicted == j))


@pytest.mark.parametrize("labels", [np.int8, np.uint8, np.uint64])
def test_confusion_of_labels_of_any_type(labels):
    matrix = metrics.confusion_matrix(labels([30, 39]), labels([30, 0]), 40)
    assert matrix.shape == (40, 40)
    assert matrix[30, 30] == matrix[39, 0] == 1


def test_class_accuracies_leave_absent_classes_out():
    np.testing.assert_array_equal(metrics.class_accuracies(np.array([[3, 1], [0, 0]])), [0.75, np.nan])


def test_the_table_has_a_line_for_each_class():
    lines = metrics.confusion_table(np.array([[3, 1], [0, 1000]]), ("cat", "a longer name")).splitlines()
    assert lines[2].split() == ["0", "cat", "0.7500", "4", "3", "1"]
    assert lines[3].split() == ["1", "a", "longer", "name", "1.0000", "1000", ".", "1000"]
    assert len({len(line) for line in lines[1:]}) == 1
