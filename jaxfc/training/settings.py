"""The settings that `fit`, a search and the command line share: one name and one default for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from jaxfc.data import PLANS, Dataset, check_batch, with_class_weights
from jaxfc.data import augment as augmentations
from jaxfc.errors import check_number, shortened, unknown_name
from jaxfc.optim import Averaged, UpdateRule

MOST_STEPS = 2**31 - 1  # steps are counted in 32 bits, and so are seeds


@dataclass(frozen=True)
class RunSettings:
    """How a network is trained, whatever it is.

    >>> RunSettings(epochs=3).order
    0
    """

    batch_size: int = 32
    """Rows in a batch."""
    epochs: int = 20
    """Number of epochs."""
    sampling: str = "shuffled"
    """shuffled (each row at most once an epoch), replacement, or continuous (a stream; rows of weight 0 sit out)."""
    augment: tuple[Any, ...] = ()
    """Augmentations inside the step: mirror, shift:4, cutout:8, colour:0.2, elastic:2, noise:0.1, mixup:0.2."""
    accumulate: int = 1
    """Parts of a batch over which its gradient is summed, so that only a part's activations take memory."""
    ema_decay: float | None = None
    """Keep a moving average of the parameters with this decay, and use it in their place."""
    patience: int | None = None
    """Stop after so many epochs without a better validation score."""
    seed: int = 0
    """Seed of initial weights and dropout."""
    order_seed: int | None = None
    """Seed of the order of rows and of augmentations (default: that of --seed)."""

    @property
    def order(self) -> int:
        """The seed of the order of rows and of augmentations."""
        return self.seed if self.order_seed is None else self.order_seed

    def check(self, num_rows: int, min_batch: int = 1) -> None:
        """Raise unless a training on so many rows can have these settings.

        Raises:
            ValueError: an unknown name, or a number out of range.
            TypeError: a number that is not an integer where one is needed.
        """
        if self.sampling not in PLANS:
            raise unknown_name("sampling", self.sampling, PLANS)
        for name in ("batch_size", "epochs", "accumulate", "patience", "seed", "order_seed"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name}={value!r} must be an integer")
            least = 0 if name in ("seed", "order_seed") else 1
            if value is not None and value < least:
                raise ValueError(f"{name}={value} must be at least {least}")
            if value is not None and name.endswith("seed") and value > MOST_STEPS:
                raise ValueError(f"{name}={shortened(str(value))} must be at most {MOST_STEPS}: seeds have 31 bits")
        if self.ema_decay is not None:
            check_number("ema_decay", self.ema_decay, low=0, high=1, exclude="high")
        iterations = check_batch(num_rows, self.batch_size)
        if self.epochs * iterations > MOST_STEPS:
            raise ValueError(
                f"epochs={shortened(str(self.epochs))} of {iterations} iterations are more steps than {MOST_STEPS}, "
                f"which are counted: at most {MOST_STEPS // iterations}"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate={self.accumulate} must divide batch_size={self.batch_size}")
        if self.batch_size // self.accumulate < min_batch:
            raise ValueError(
                f"batch_size={self.batch_size}, accumulate={self.accumulate}: this network needs at least {min_batch} "
                "rows in each part of a batch (of a single row, batchnorm leaves nothing)"
            )

    def augmentations(self, data: Dataset) -> tuple[Callable, ...]:
        """The augmentations for a data set, those given by name made into functions.

        Raises:
            ValueError: an unknown name, a number out of range, an augmentation of images where rows are none.
            TypeError: what is neither a name nor a function.
        """
        made: list[Callable] = []
        for each in self.augment:
            if isinstance(each, str):
                made += augmentations.parse((each,), data.image_shape, name=data.name)
            elif callable(each):
                made.append(each)
            else:
                raise TypeError(f"augment: {each!r} is neither a name nor a function (key, x, y) -> (x, y)")
        return tuple(made)

    def averaged(self, rule: UpdateRule, hyper: Mapping[str, Any]) -> tuple[UpdateRule, dict[str, Any]]:
        """The rule and its hyper-parameters, keeping averages if `ema_decay` says so."""
        return (rule, dict(hyper)) if self.ema_decay is None else (Averaged(rule), {**hyper, "decay": self.ema_decay})


RUN_NAMES = tuple(field.name for field in fields(RunSettings))


def weighted(data: Dataset, class_weight: str | Mapping[str, float] | None) -> Dataset:
    """The data set with class weights, if there are any; see `jaxfc.data.with_class_weights`.

    >>> from jaxfc import load
    >>> float(weighted(load("digits"), {"7": 3.0}).w_train.max())
    3.0
    """
    return data if class_weight is None else with_class_weights(data, class_weight)
