"""Tasks: their losses, units and ranks, and what a network learns of each."""

import dataclasses

import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest
from examples import PLAIN, blobs, labels, numbers, run

from jaxfc import Classification, Multilabel, Regression, Task, described, metrics, tasks

LONG = {"epochs": 20}
DATA = {"classes": blobs, "labels": labels, "numbers": numbers}


@described
class Laplace(Task):
    """A task of a user's own: a median in the target's units, through one that stands for the library's."""

    rank: str = "mae"
    metrics = metrics.REGRESSION

    def loss(self, outputs, y, weights=None):
        return jnp.average(jnp.abs(self.decode(outputs) - y).mean(axis=1), weights=weights) / 50

    def decode(self, outputs):
        return 1000 + 50 * outputs


@pytest.mark.parametrize(
    ("task", "name", "bound"),
    [
        (Classification(label_smoothing=0.1, rank="log_loss"), "acc", 0.95),
        (Classification(criterion="hinge"), "acc", 0.95),
        (Multilabel(), "f1", 0.9),
        (Regression(rank="rmse"), "r2", 0.85),
        (Regression(criterion="huber"), "r2", 0.9),
        (Laplace(), "r2", 0.8),
    ],
)
def test_every_loss_is_learned_and_its_metric_ranks(task, name, bound):
    data = DATA[task.targets]()
    result = run(data, PLAIN, task=task, **LONG)
    measured = result.model(data).evaluate(data.x_val, data.y_val)
    assert measured[name] > bound
    assert list(measured) == list(task.metrics)
    assert result.metric == task.rank
    np.testing.assert_allclose(result.best_score, measured[task.rank], rtol=1e-4)
    scores = result.val_history[1:] if task.higher else -result.val_history[1:]
    assert scores[result.best_epoch - 1] == scores.max()
    ties = np.where(scores == scores.max(), result.val_loss_history[1:], np.inf)
    assert result.best_epoch == 1 + ties.argmin()


@pytest.mark.parametrize("task", [Regression(rank="rmse"), Multilabel()])
def test_patience_follows_the_rank(task):
    """At a rate this high a run soon gets no better."""
    result = run(DATA[task.targets](), PLAIN, task=task, hyper={"learning_rate": 0.3}, patience=2, **LONG)
    assert result.stopped == "patience"
    scores = result.val_history[1:] if task.higher else -result.val_history[1:]
    assert len(scores) == result.best_epoch + 2
    assert scores.argmax() + 1 == result.best_epoch


def test_quantiles_are_in_order_and_cover_what_they_say():
    data, quantiles = numbers(outputs=1), (0.1, 0.5, 0.9)
    task = Regression(criterion="quantile", quantiles=quantiles)
    result = run(data, PLAIN, task=task, epochs=40)
    model = result.model(data)
    predicted = model.prediction(data.x_train)
    assert predicted.shape == (200, 3)
    assert (np.diff(predicted, axis=1) > 0).mean() > 0.97
    np.testing.assert_allclose((data.y_train[:, None] <= predicted).mean(axis=0), quantiles, atol=0.08)
    measured = model.evaluate(data.x_val, data.y_val)
    assert result.metric == "pinball"
    residual = data.y_val[:, None] - model.prediction(data.x_val)
    pinball = np.maximum(np.multiply(quantiles, residual), (np.array(quantiles) - 1) * residual).mean()
    np.testing.assert_allclose([measured["pinball"], result.best_score], pinball, rtol=1e-5)
    np.testing.assert_allclose(measured["mae"], np.abs(residual[:, 1]).mean(), rtol=1e-5)


def test_soft_targets_that_are_one_hot_are_classes():
    data = blobs()
    soft = dataclasses.replace(data, y_train=np.eye(3)[data.y_train], y_val=np.eye(3)[data.y_val])
    hard, one_hot = run(data, PLAIN), run(soft, PLAIN)
    np.testing.assert_allclose(one_hot.loss_history, hard.loss_history, rtol=1e-4)
    np.testing.assert_array_equal(one_hot.val_history, hard.val_history)
    assert one_hot.model(soft).accuracy(soft.x_val, soft.y_val) == pytest.approx(hard.best_score)


def test_numbers_are_predicted_in_their_own_units():
    rng = np.random.default_rng(0)
    y, weights = 1000 + 50 * rng.normal(size=(30, 2)), rng.integers(0, 4, size=30).astype(float)
    y[:, 1] = 7
    task = Regression().fitted(y, weights)
    repeated = np.repeat(y, weights.astype(int), axis=0)
    np.testing.assert_allclose(task.mean, repeated.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(task.scale, [repeated[:, 0].std(), 1], rtol=1e-5)  # what never varies is not scaled
    outputs = (y - task.mean) / task.scale
    np.testing.assert_allclose(task.decode(jnp.asarray(outputs)), y, rtol=1e-6)
    assert Regression().fitted(y[:, 0]).mean.shape == (1,)
    assert task.loss(jnp.asarray(outputs), jnp.asarray(y)) < 1e-9


def test_quantiles_of_several_targets_stand_target_by_target():
    task = Regression(criterion="quantile", quantiles=(0.2, 0.6), mean=np.float32([10, 20]), scale=np.float32([1, 2]))
    assert task.num_outputs(numbers(2)) == 4
    np.testing.assert_allclose(task.decode(jnp.ones((1, 4))), [[11, 11, 22, 22]])
    prediction = np.array([[1.0, 2, 3, 4]])
    assert task.measure(prediction, np.array([[2.0, 4]]))["rmse"] == 0  # 0.6 is nearest to the median


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("task", "twin"),
    [
        (Classification(label_smoothing=0.2), lambda s, y, w: naive.softmax_loss(s, y, w, 0.2)),
        (Classification(criterion="hinge"), naive.svm_loss),
        (Multilabel(), naive.sigmoid_loss),
        (Regression(), naive.squared_loss),
        (Regression(criterion="huber", delta=0.5), lambda s, y, w: naive.huber_loss(s, y, w, 0.5)),
        (
            Regression(criterion="quantile", quantiles=(0.1, 0.5, 0.9)),
            lambda s, y, w: naive.quantile_loss(s, y[:, :1], w, (0.1, 0.5, 0.9)),
        ),
    ],
)
def test_loss_and_gradient_equal_the_naive_twin(task, twin):
    rng = np.random.default_rng(0)
    outputs, weights = rng.normal(size=(6, 3)), rng.random(6)
    if task.targets == "numbers":
        y = np.array([5.0, 7, 9]) + rng.normal(size=(6, 3)) * [1, 2, 3]
        y = y[:, :1] if task.criterion == "quantile" else y
        task = task.fitted(y, weights)
        scaled = (y - task.mean) / task.scale
    else:
        y = scaled = rng.integers(2, size=(6, 3)) if task.targets == "labels" else rng.integers(3, size=6)

    def ours(s):
        return task.loss(s, jnp.asarray(y), jnp.asarray(weights))

    def theirs(s):
        return twin(s, scaled, weights)

    both = jax.jit(lambda s: (jax.value_and_grad(ours)(s), jax.value_and_grad(theirs)(s)))
    (value, gradient), (expected, expected_gradient) = both(outputs)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)


def test_answers_of_predictions():
    assert Classification().answer(np.array([[0.2, 0.8], [0.6, 0.4]])).tolist() == [1, 0]
    assert Multilabel().answer(np.array([[0.5, 0.49]])).tolist() == [[1, 0]]
    assert Regression().answer(np.array([[3.5]])).tolist() == [[3.5]]
    assert Classification().soft(jnp.array([1, 0]), 2).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("make", DATA.values())
def test_the_task_that_suits_a_data_set(make):
    data = make()
    task = tasks.task_for(data)
    assert task.targets == data.targets
    tasks.check_task(task, data)
    assert task.num_outputs(data) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classification(criterion="softmaks"), "did you mean 'softmax'"),
        (lambda: Classification(rank="accuracy"), "unknown metric of Classification 'accuracy'"),
        (lambda: Classification(label_smoothing=1.0), "label_smoothing=1.0"),
        (lambda: Classification(criterion="hinge", label_smoothing=0.1), "the hinge loss has none; leave it out"),
        (lambda: Multilabel(rank="r2"), "unknown metric of Multilabel 'r2'"),
        (lambda: Regression(criterion="square"), "did you mean 'squared'"),
        (lambda: Regression(delta=0.0), r"delta=0\.0 must be a finite number in \(0, inf\)"),
        (lambda: Regression(quantiles=(0.5,)), "need the quantile loss: give criterion='quantile'"),
        (lambda: Regression(criterion="quantile", quantiles=(0.5, 1.0)), r"quantiles: 1\.0 must lie between 0 and 1"),
        (lambda: Regression(rank="pinball"), "unknown metric of Regression 'pinball'"),
        (lambda: tasks.check_task(Multilabel(), blobs()), "Multilabel is for labels as targets, and 'blobs' has class"),
    ],
)
def test_bad_tasks_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
