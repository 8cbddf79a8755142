r"""Tasks: what a network is trained for.

A task joins a loss, the metrics it is measured by, how a network's outputs become predictions, and which
metric ranks networks, and which way. Whoever adds one writes one class, a subclass of `Task`:

    @jaxfc.described
    class Counts(jaxfc.Task):
        targets = "numbers"
        rank: str = "rmse"

        metrics = metrics.REGRESSION

        def loss(self, outputs, y, weights=None):  # Poisson
            each = jnp.exp(outputs) - y.reshape(outputs.shape) * outputs
            return jnp.average(each.mean(axis=1), weights=weights)

        def decode(self, outputs):
            return jnp.exp(outputs)

Four shapes of numbers, in order: a network's *outputs*; what `decode` makes of them, the *prediction*
(probabilities, or values in the target's own units), which ensembles average and metrics measure; and the
*answer* that `answer` makes of a prediction (a class, a set of labels, values).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxfc import layers, metrics
from jaxfc.data import Dataset
from jaxfc.description import described, number
from jaxfc.errors import unknown_name
from jaxfc.layers.common import wide_type
from jaxfc.metrics import Metric

Outputs = Float[Array, "batch outputs"]
Weights = Float[Array, " batch"] | None


class Task:
    """What every task offers; the defaults suit a task on numbers.

    A subclass is decorated with `jaxfc.described`. `targets` says which kind of targets it is for: `"classes"`,
    `"labels"` (0 or 1 each) or `"numbers"`; see `jaxfc.Dataset`. `rank` names the metric that ranks, `headline`
    those that a run ends with.

    >>> issubclass(Classification, Task)
    True
    """

    targets: ClassVar[str] = "numbers"
    metrics: Mapping[str, Metric] = {}
    headline: ClassVar[tuple[str, ...]] = ()
    of_answers: ClassVar[tuple[str, ...]] = ()  # the metrics that look at answers, which a threshold changes
    threshold: Any = None
    rank: str

    def num_outputs(self, data: Dataset) -> int:
        """How many outputs a network for the data has."""
        return data.num_outputs

    def fitted(self, y: np.ndarray, weights: np.ndarray | None = None) -> "Task":
        """The task for these training targets, with whatever it has to know of them."""
        return self

    def loss(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """The mean loss of a batch, by example weights."""
        raise NotImplementedError

    def decode(self, outputs: Outputs) -> Float[Array, "batch predictions"]:
        """Predictions from outputs."""
        return outputs

    def answer(self, prediction: Any) -> Any:
        """Answers from predictions, NumPy's or JAX's."""
        return prediction

    def soft(self, y: Array, num_outputs: int) -> Float[Array, "batch outputs"]:
        """Targets as floats that can be mixed (mixup)."""
        return jnp.asarray(y, jnp.float32).reshape(len(y), -1)

    def score(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """The metric that ranks, from outputs."""
        return self.metrics[self.rank].function(self.decode(outputs), y, weights)

    def measure(
        self, prediction: Any, y: Any, weights: Any = None, names: Iterable[str] | None = None
    ) -> dict[str, float]:
        """Metrics of predictions, computed in float64: all, or those of some names (each compiles a program).

        >>> task = Classification()
        >>> task.measure(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), names=["acc"])
        {'acc': 0.5}
        """
        names = self.metrics if names is None else names
        with jax.enable_x64(True):
            p = np.asarray(prediction, np.float64)
            sure = p if self.threshold is None else self.sure(np.asarray(prediction))
            y, weights = (None if each is None else _wide(np.asarray(each)) for each in (y, weights))
            functions = {name: jax.jit(self.metrics[name].function) for name in names}
            return {
                name: float(function(sure if name in self.of_answers else p, y, weights))
                for name, function in functions.items()
            }

    def sure(self, prediction: np.ndarray) -> np.ndarray:
        """Its answers as predictions that leave no doubt, for the metrics that look at answers."""
        return np.asarray(self.answer(prediction), np.float64)

    @property
    def higher(self) -> bool:
        """Whether more of the metric that ranks is better."""
        return self.metrics[self.rank].higher

    def check_rank(self) -> None:
        """Raise a ValueError unless `rank` is one of the metrics."""
        if self.rank not in self.metrics:
            raise unknown_name(f"metric of {type(self).__name__}", self.rank, self.metrics)


def _cooled(outputs: Outputs, temperature: Any) -> Outputs:
    """Outputs divided by a temperature, where there is one."""
    return outputs if temperature is None else outputs / jnp.asarray(temperature, outputs.dtype)


def _over(prediction: Any, threshold: Any) -> Any:
    """Where predictions, NumPy's or JAX's, reach a threshold."""
    threshold = (jnp if isinstance(prediction, jax.Array) else np).asarray(threshold, prediction.dtype)
    return prediction >= (threshold if threshold.ndim == 0 else threshold[None, :])


def _wide(numbers: np.ndarray) -> np.ndarray:
    """Fractions in float64; whole numbers as they are."""
    return numbers.astype(np.float64) if np.issubdtype(numbers.dtype, np.floating) else numbers


@described
class Classification(Task):
    """One class for each row.

    Args:
        criterion: the loss: `"softmax"` (cross-entropy) or `"hinge"` (multiclass SVM); see `jaxfc.layers`.
        label_smoothing: in [0, 1), of the softmax loss.
        rank: the metric that ranks: acc, balanced_acc, log_loss, f1, auc or ece.
        temperature: what outputs are divided by before they become probabilities; `Model.calibrated` fits it.
        threshold: of two classes, the probability of the second one from which on it is answered, in place of one
            half; `Model.with_threshold` chooses it.
        class_weights: a weight for each class, an array by which the loss (on validation rows too) multiplies
            the rows' own; candidates of a search may each have theirs.

    Targets are class indices, or with the softmax loss a distribution over classes for each row.

    Raises:
        ValueError: an unknown name, a number out of range.

    >>> task = Classification(label_smoothing=0.1)
    >>> print(task.loss(jnp.zeros((2, 4)), jnp.array([0, 3])).round(4), task.answer(np.array([[0.2, 0.8]])))
    1.3863 [1]
    """

    targets: ClassVar[str] = "classes"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.CLASSIFICATION
    headline: ClassVar[tuple[str, ...]] = ("acc",)
    of_answers: ClassVar[tuple[str, ...]] = ("acc", "balanced_acc", "f1")
    criterion: str = "softmax"
    label_smoothing: Any = number(0.0, low=0, high=1, exclude="high")
    rank: str = "acc"
    temperature: Any = number(None, low=0, exclude="low")
    threshold: Any = number(None, low=0, high=1)
    class_weights: Any = number(None, low=0)

    def __post_init__(self) -> None:
        if self.criterion not in ("softmax", "hinge"):
            raise unknown_name("loss of a classification", self.criterion, ("softmax", "hinge"))
        if self.criterion == "hinge" and isinstance(self.label_smoothing, float) and self.label_smoothing:
            raise ValueError(f"label_smoothing={self.label_smoothing}: the hinge loss has none; leave it out")
        if isinstance(by_class := self.class_weights, str):
            raise TypeError(f"class_weights={by_class!r}: give an array; names are for `class_weight` of a fit")
        if isinstance(by_class, np.ndarray) and not (np.isfinite(by_class) & (by_class >= 0)).all():
            raise ValueError(f"class_weights={by_class}: must be finite numbers of at least 0")
        self.check_rank()

    def loss(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """Softmax cross-entropy or hinge loss."""
        if self.class_weights is not None:
            weights = layers.by_class(self.class_weights, y, outputs.shape[1], weights)
        if self.criterion == "hinge":
            return layers.svm_loss(outputs, y, weights)
        return layers.softmax_loss(outputs, y, weights, self.label_smoothing)

    def decode(self, outputs: Outputs) -> Float[Array, "batch classes"]:
        """Probabilities, the softmax of the scores."""
        return jax.nn.softmax(_cooled(outputs, self.temperature))

    def answer(self, prediction: Any) -> Any:
        """The most probable class's index; of two classes, by the threshold if there is one."""
        if self.threshold is not None and prediction.shape[1] == 2:
            return _over(prediction[:, 1], self.threshold).astype(np.int32)
        return prediction.argmax(axis=1)

    def sure(self, prediction: np.ndarray) -> np.ndarray:
        """One-hot answers."""
        return np.eye(prediction.shape[1])[np.asarray(self.answer(prediction))]

    def soft(self, y: Array, num_outputs: int) -> Float[Array, "batch classes"]:
        """One-hot targets."""
        return y if y.ndim == 2 else jax.nn.one_hot(y, num_outputs)

    def score(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """The metric that ranks; accuracy needs no softmax."""
        prediction = outputs if self.rank == "acc" else self.decode(outputs)
        return self.metrics[self.rank].function(prediction, y, weights)


@described
class Multilabel(Task):
    """Any number of labels for each row, each on its own: sigmoid cross-entropy.

    Args:
        rank: the metric that ranks: f1, auc, log_loss or exact_match.
        temperature: as in `Classification`.
        threshold: the probability from which on a label is answered, one number or one for each label; by default
            one half.

    Targets are 0 or 1, `(rows, labels)`.

    >>> Multilabel().answer(np.array([[0.2, 0.8]])).tolist()
    [[0, 1]]
    """

    targets: ClassVar[str] = "labels"
    metrics: ClassVar[Mapping[str, Metric]] = metrics.MULTILABEL
    headline: ClassVar[tuple[str, ...]] = ("f1", "auc")
    of_answers: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    rank: str = "f1"
    temperature: Any = number(None, low=0, exclude="low")
    threshold: Any = number(None, low=0, high=1)

    def __post_init__(self) -> None:
        self.check_rank()

    def loss(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """Sigmoid cross-entropy, the mean over labels."""
        return layers.sigmoid_loss(outputs, y, weights)

    def decode(self, outputs: Outputs) -> Float[Array, "batch labels"]:
        """Each label's probability."""
        return jax.nn.sigmoid(_cooled(outputs, self.temperature))

    def answer(self, prediction: Any) -> Any:
        """0 or 1 for each label."""
        return _over(prediction, 0.5 if self.threshold is None else self.threshold).astype(np.uint8)


@described
class Regression(Task):
    r"""One or several numbers for each row.

    Targets are standardized inside: the loss compares outputs with $(y - m) / s$, where $m$ and $s$ are
    the (weighted) mean and standard deviation of the training targets, and predictions are $m + s \cdot$
    outputs, in the target's own units.

    Args:
        criterion: the loss: `"squared"`, `"huber"` or `"quantile"`; see `jaxfc.layers`.
        delta: the residual, in standard deviations, beyond which the Huber loss is linear.
        quantiles: of the quantile loss: predictions are then `(rows, targets * quantiles)`.
        rank: the metric that ranks: r2, rmse or mae; by default r2, and of quantiles the pinball loss.
        mean: $m$; `fitted` sets it.
        scale: $s$; likewise.

    Raises:
        ValueError: an unknown name, a number out of range, quantiles without the quantile loss.

    >>> task = Regression().fitted(np.array([1.0, 3.0, 5.0]))
    >>> print(task.decode(jnp.array([[0.0], [1.0]])).T)
    [[3.       4.632993]]
    """

    targets: ClassVar[str] = "numbers"
    headline: ClassVar[tuple[str, ...]] = ("r2", "rmse")
    criterion: str = "squared"
    delta: Any = number(1.0, low=0, exclude="low")
    quantiles: tuple[float, ...] = ()
    rank: str = ""
    mean: Any = number(None)
    scale: Any = number(None)

    def __post_init__(self) -> None:
        if self.criterion not in ("squared", "huber", "quantile"):
            raise unknown_name("loss of a regression", self.criterion, ("squared", "huber", "quantile"))
        if self.criterion == "quantile" and not self.quantiles:
            object.__setattr__(self, "quantiles", (0.5,))
        if self.criterion != "quantile" and self.quantiles:
            raise ValueError(f"quantiles={self.quantiles} need the quantile loss: give criterion='quantile'")
        for quantile in self.quantiles:
            if not 0 < quantile < 1:
                raise ValueError(f"quantiles: {quantile} must lie between 0 and 1")
        if not self.rank:
            object.__setattr__(self, "rank", "pinball" if self.quantiles else "r2")
        self.check_rank()

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """R², RMSE and MAE; with quantiles those of the one nearest the median, and the pinball loss."""
        if not self.quantiles:
            return metrics.REGRESSION

        def pinball(p: Array, y: Array, weights: Weights = None) -> Array:
            return metrics.pinball(p, y, weights, self.quantiles)

        return {
            name: metric._replace(function=_of_middle(metric.function, self.quantiles))
            for name, metric in metrics.REGRESSION.items()
        } | {"pinball": Metric("pinball", pinball, False, "pinball loss")}

    def num_outputs(self, data: Dataset) -> int:
        """A number for each target, and for each quantile of it."""
        return data.num_outputs * max(len(self.quantiles), 1)

    def fitted(self, y: np.ndarray, weights: np.ndarray | None = None) -> "Regression":
        """The task with the mean and scale of these targets."""
        y = np.asarray(y, np.float64).reshape(len(y), -1)
        mean = np.average(y, axis=0, weights=weights)
        scale = np.sqrt(np.average(np.square(y - mean), axis=0, weights=weights))
        wide = np.float64 if jax.config.jax_enable_x64 else np.float32
        return replace(self, mean=mean.astype(wide), scale=np.where(scale > 0, scale, 1).astype(wide))

    def loss(self, outputs: Outputs, y: Array, weights: Weights = None) -> Float[Array, ""]:
        """The loss of outputs against standardized targets."""
        y = jnp.asarray(y, wide_type(outputs)).reshape(len(outputs), -1)
        if self.mean is not None:
            mean, scale, wide = self._affine(y)
            y = (y.astype(wide) - mean) / scale
        y = y.astype(outputs.dtype)
        if self.criterion == "quantile":
            return layers.quantile_loss(outputs, y, weights, self.quantiles)
        if self.criterion == "huber":
            return layers.huber_loss(outputs, y, weights, self.delta)
        return layers.squared_loss(outputs, y, weights)

    def decode(self, outputs: Outputs) -> Float[Array, "batch predictions"]:
        """Values in the target's own units."""
        if self.mean is None:
            return outputs
        mean, scale, wide = self._affine(outputs)
        mean, scale = (jnp.repeat(each, max(len(self.quantiles), 1), axis=1) for each in (mean, scale))
        return outputs.astype(wide) * scale + mean

    def _affine(self, numbers: Array) -> tuple[Array, Array, Any]:
        """Mean and scale as rows, `(1, targets)`, in the type to compute in with such numbers, which comes third."""
        mean, scale = jnp.asarray(self.mean), jnp.asarray(self.scale)
        wide = wide_type(numbers, mean, scale)
        return mean.astype(wide)[None, :], scale.astype(wide)[None, :], wide


def _of_middle(function: Any, quantiles: tuple[float, ...]) -> Any:
    """A metric of the quantile nearest the median."""
    middle = int(np.argmin(np.abs(np.array(quantiles) - 0.5)))
    return lambda p, y, weights=None: function(p[:, middle :: len(quantiles)], y, weights)


TASKS = {"classification": Classification, "multilabel": Multilabel, "regression": Regression}
DEFAULTS = {"classes": Classification, "labels": Multilabel, "numbers": Regression}


def task_for(data: Dataset) -> Task:
    """The task that suits a data set's targets.

    >>> from jaxfc import load
    >>> task_for(load("digits")).criterion
    'softmax'
    """
    return DEFAULTS[data.targets]()


def check_task(task: Task, data: Dataset) -> None:
    """Raise unless a task is one, and fits a data set's targets.

    Raises:
        TypeError: it is no task.
        ValueError: the data set's targets are of another kind.

    >>> from jaxfc import load
    >>> check_task(Regression(), load("digits"))
    Traceback (most recent call last):
    ValueError: Regression is for numbers as targets, and 'digits' has classes: use Classification
    """
    if not isinstance(task, Task):
        raise TypeError(f"{task!r} is no task: pass an instance of a subclass of jaxfc.Task")
    if task.targets != data.targets:
        raise ValueError(
            f"{type(task).__name__} is for {task.targets} as targets, and {data.name!r} has {data.targets}: "
            f"use {DEFAULTS[data.targets].__name__}"
        )
    task.check_rank()
