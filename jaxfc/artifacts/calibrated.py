"""Models with probabilities and intervals that one can use; the mathematics is in `jaxfc.calibration`."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Float, Num

from jaxfc import calibration
from jaxfc.artifacts.predictor import Predictor, Rows
from jaxfc.description import described
from jaxfc.tasks import Classification, Multilabel, Task


def calibrated(predictor: Predictor, x: Rows, y: Num[np.ndarray, "rows *outputs"], weights: Any = None) -> Predictor:
    r"""A model or an ensemble whose outputs are divided by a temperature $T$, fitted to rows held out.

    $p = \mathrm{softmax}(z / T)$, or the sigmoid of several labels, with the $T$ of the least log loss on these rows;
    never worse on them than $T = 1$. Of an ensemble every member's outputs are divided by the same $T$. Which class
    is the most probable does not change in a single model. The temperature is kept in the model's file.

    Args:
        predictor: the model.
        x: rows as the data set had them, which were not trained on.
        y: their targets.
        weights: their weights.

    Raises:
        TypeError: a task that does not decode as `Classification` or `Multilabel` do.
        ValueError, TypeError: as `Model.prediction`; targets that do not fit.

    Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern Neural Networks*, 2017.

    >>> from jaxfc import FCNet, fit, load
    >>> data = load("digits")
    >>> model = fit(FCNet(64, (32,), 10), "adam", data, epochs=2, verbose=False).model(data)
    >>> better = model.calibrated(*data.split("val"))
    >>> before, after = (each.evaluate(*data.split("val"), metrics=["log_loss"]) for each in (model, better))
    >>> after["log_loss"] <= before["log_loss"]
    True
    """
    kind = type(predictor.task).decode
    if kind not in (Classification.decode, Multilabel.decode):
        raise TypeError(
            f"{type(predictor.task).__name__} makes predictions in its own way, which no temperature is part of: "
            "calibrated() is for Classification and Multilabel"
        )
    predictor.check_targets(x, y)
    outputs = [replace(one, task=_Outputs()).prediction(x).astype(np.float64) for one in predictor._members()]
    wide = np.float64 if jax.config.jax_enable_x64 else np.float32
    loss = _loss_of_labels if kind is Multilabel.decode else _loss_of_classes
    if kind is Classification.decode and y.ndim == 1:
        y = np.eye(outputs[0].shape[1])[y]
    weights = None if weights is None else np.asarray(weights, np.float64)
    found = calibration.temperature(lambda t: np.average(loss([z / t for z in outputs], y), weights=weights))
    return predictor._with_task(temperature=wide(found))


@described
class _Outputs(Task):
    """A task that leaves outputs as they are."""

    targets: ClassVar[str] = "numbers"
    rank: str = ""


def _loss_of_classes(scores: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Each row's cross-entropy of the mean of the members' softmaxes."""
    logs = [z - np.logaddexp.reduce(z, axis=1, keepdims=True) for z in scores]
    return -(y * _log_mean(logs)).sum(axis=1)


def _loss_of_labels(scores: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Each row's binary cross-entropy of the mean of the members' sigmoids, the mean over labels."""
    there, absent = (_log_mean([-np.logaddexp(0, sign * z) for z in scores]) for sign in (-1, 1))
    return -(y * there + (1 - y) * absent).mean(axis=1)


def _log_mean(logs: list[np.ndarray]) -> np.ndarray:
    return np.logaddexp.reduce(np.stack(logs), axis=0) - np.log(len(logs))


def with_threshold(
    predictor: Predictor, x: Rows, y: Num[np.ndarray, "rows *outputs"], weights: Any = None, *, metric: str = "f1"
) -> Predictor:
    """A model that answers from another probability on than one half: the best on rows held out.

    Of two classes it is the probability of the second one; of several labels each has a threshold of its own.
    `predict`, `accuracy` and the metrics that look at answers (`acc`, `balanced_acc`, `f1`, `exact_match`) follow it;
    probabilities stay what they are. It is kept in the model's file.

    Args:
        predictor: the model.
        x: rows as the data set had them, which were not trained on.
        y: their targets.
        weights: their weights.
        metric: `"f1"` of the second class, or of each label; or `"balanced_acc"`.

    Raises:
        ValueError: more than two classes, a regression, an unknown metric; rows of which all or none have a label.
        ValueError, TypeError: as `Model.prediction`; targets that do not fit.

    See `jaxfc.calibration.threshold`.

    >>> from jaxfc import FCNet, Model, Normalizer
    >>> from jaxfc.artifacts.predictor import About
    >>> layer = {"w": jax.numpy.array([[0.0, 1.0]]), "b": jax.numpy.zeros(2)}
    >>> as_it_is = Normalizer(np.zeros(1, "f"), np.float32(1))
    >>> model = Model(FCNet(1, (), 2), [layer], (), as_it_is, About(classes=("common", "rare")))
    >>> x = np.linspace(-4, 0, 40, dtype=np.float32)[:, None]
    >>> rare = (x[:, 0] > -1).astype(np.int32)
    >>> [int(each.predict(x).sum()) for each in (model, model.with_threshold(x, rare))], int(rare.sum())
    ([0, 10], 10)
    """
    kind, count = predictor.about.targets, predictor.about.num_targets or len(predictor.classes)
    if kind == "numbers" or (kind == "classes" and count != 2):
        what = f"{count} classes" if kind == "classes" else "numbers"
        raise ValueError(f"a threshold is for two classes or for labels; this model predicts {what}")
    predictor.check_targets(x, y)
    p, wide = predictor.prediction(x), np.float64 if jax.config.jax_enable_x64 else np.float32
    if kind == "classes":
        y = y if y.ndim == 1 else y.argmax(axis=1)
        return predictor._with_task(threshold=wide(calibration.threshold(p[:, 1], y, metric, weights)))
    each = [calibration.threshold(p[:, i], y[:, i], metric, weights) for i in range(p.shape[1])]
    return predictor._with_task(threshold=np.array(each, wide))


@dataclass(frozen=True)
class Conformal:
    """A regression's predictions with intervals that hold what they promise; `Model.conformal` makes it.

    Args:
        predictor: the model.
        scores: of the rows held out, as `jaxfc.calibration.residual_scores` makes them.

    >>> Conformal(None, np.zeros((9, 2))).scores.shape
    (9, 2)
    """

    predictor: Predictor
    scores: Float[np.ndarray, "rows targets"]

    def interval(
        self, x: Rows, coverage: float | int = 0.9, **how: Any
    ) -> tuple[Float[np.ndarray, "rows targets"], Float[np.ndarray, "rows targets"]]:
        r"""The lower and the upper ends of intervals that hold a new row's target with probability `coverage`.

        $[p - q, p + q]$, or of a model of quantiles $[p_{low} - q, p_{high} + q]$, with the margin $q$ of
        `jaxfc.calibration.margin`. Of several targets each on its own.

        Args:
            x: rows as the data set had them.
            coverage: in (0, 1).
            **how: as `Model.prediction` takes it.

        Raises:
            ValueError: a coverage out of range, or one that so few held-out rows cannot promise.
        """
        reach = calibration.margin(self.scores, coverage)[None, :]
        low, high = calibration.ends_of(self.predictor.prediction(x, **how), _quantiles(self.predictor))
        return low - reach, high + reach


def conformal(predictor: Predictor, x: Rows, y: Num[np.ndarray, "rows *outputs"]) -> Conformal:
    r"""Intervals for a regression, from rows that were not trained on.

    Split conformal prediction: scores are $|y - p|$ (Lei et al. 2018), or of a model of two or more quantiles
    $\max(p_{low} - y, y - p_{high})$ (conformalized quantile regression, Romano, Patterson and Candès 2019), whose
    intervals are as wide as a row needs. They cover a new row, drawn as those were, with the probability asked for,
    whatever the model is.

    Args:
        predictor: the model.
        x: rows as the data set had them.
        y: their targets.

    Raises:
        ValueError: no regression.
        ValueError, TypeError: as `Model.prediction`; targets that do not fit.

    >>> from jaxfc import FCNet, Model, Normalizer, Regression
    >>> from jaxfc.artifacts.predictor import About
    >>> layer = {"w": jax.numpy.ones((1, 1)), "b": jax.numpy.zeros(1)}
    >>> as_it_is = Normalizer(np.zeros(1, "f"), np.float32(1))
    >>> model = Model(FCNet(1, (), 1), [layer], (), as_it_is, About("numbers", num_targets=1), Regression())
    >>> x = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    >>> held_out = x[:, 0] + np.where(np.arange(50) % 2, 0.25, -0.25)
    >>> low, high = model.conformal(x, held_out).interval(np.array([[2.0]], "f"), coverage=0.9)
    >>> low.round(4).item(), high.round(4).item()
    (1.75, 2.25)
    """
    if predictor.about.targets != "numbers":
        raise ValueError(f"intervals are for numbers; this model predicts {predictor.about.targets}: use calibrated()")
    predictor.check_targets(x, y)
    y = np.asarray(y, np.float64).reshape(len(y), -1)
    return Conformal(predictor, calibration.residual_scores(predictor.prediction(x), y, _quantiles(predictor)))


def _quantiles(predictor: Predictor) -> tuple[float, ...]:
    return tuple(getattr(predictor.task, "quantiles", ()))
