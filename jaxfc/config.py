"""The settings of a training run: what the command line's flags are made of, and `config.json` holds."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxfc.data import Dataset
from jaxfc.errors import FormatError, check_number
from jaxfc.network import FCNet
from jaxfc.optim import Clipped, UpdateRule, rule
from jaxfc.schedules import Schedule, Scheduled


@dataclass(frozen=True)
class TrainConfig:
    """Train a network, and keep it, its curves and a checkpoint in a run folder."""

    data: str = "digits"
    """digits, cifar10, mnist or fashion_mnist; or the path of a .npz or .csv file."""
    data_dir: str | None = None
    """Folder that holds the data set's files (default: $JAXFC_DATA, else they are downloaded once)."""
    label: str | None = None
    """Label column of a .csv, by name or index (default: the last)."""
    num_train: int | None = None
    """Train on the first so many rows only."""
    mirror: bool = False
    """Train on the mirror images of images as well."""
    hidden: tuple[int, ...] = (100, 100)
    """Widths of the hidden layers; none for a linear classifier."""
    normalization: str | None = None
    """batchnorm or layernorm."""
    activation: str = "relu"
    """relu, leaky_relu, tanh, sigmoid, silu or gelu."""
    dropout_keep_ratio: float | None = None
    """Ratio of activations kept by dropout, in (0, 1]."""
    reg: float | None = None
    """L2 strength, of 0.5 * reg * sum(w**2)."""
    weight_scale: float | Literal["he", "glorot", "lecun"] = "he"
    """Standard deviation of the initial weights, or a rule for it."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1)."""
    norm_momentum: float = 0.9
    """Part of batchnorm's running statistics kept at each step."""
    param_dtype: str = "float32"
    """float32, float64 or bfloat16."""
    compute_dtype: str | None = None
    """Type of activations and matrix products (default: that of the parameters)."""
    update_rule: str = "adam"
    """sgd, sgd_momentum, nesterov, rmsprop, adagrad, adam, adamw or lion."""
    learning_rate: float = 1e-3
    """Learning rate, before its schedule."""
    weight_decay: float | None = None
    """Decoupled weight decay, of adamw and lion."""
    momentum: float | None = None
    """Momentum, of sgd_momentum and nesterov."""
    decay_rate: float | None = None
    """Decay of rmsprop's squared gradients."""
    beta1: float | None = None
    """Decay of the mean gradient, of adam, adamw and lion."""
    beta2: float | None = None
    """Decay of the mean squared gradient, of adam, adamw and lion."""
    epsilon: float | None = None
    """Term in the denominator of adagrad, rmsprop, adam and adamw."""
    clip_norm: float | None = None
    """Clip gradients to this global norm."""
    schedule: str = "exponential"
    """exponential (by lr_decay), cosine, linear or constant."""
    lr_decay: float = 1.0
    """Factor on the learning rate after each epoch, of the exponential schedule."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises to its full value."""
    batch_size: int = 32
    """Rows in a batch."""
    epochs: int = 20
    """Number of epochs."""
    sampling: str = "shuffled"
    """shuffled (each row at most once an epoch) or replacement."""
    patience: int | None = None
    """Stop after so many epochs without a better validation accuracy."""
    seed: int = 0
    """Seed of initial weights, row order and dropout."""

    def network(self, data: Dataset) -> FCNet:
        """The network for a data set.

        Raises:
            ValueError, TypeError: as `FCNet`.

        >>> from jaxfc.data import load
        >>> TrainConfig(hidden=(32,)).network(load("digits")).dims
        (64, 32, 10)
        """
        return FCNet(
            data.num_features,
            self.hidden,
            len(data.classes),
            normalization=self.normalization,
            activation=self.activation,
            dropout_keep_ratio=self.dropout_keep_ratio,
            reg=self.reg,
            weight_scale=self.weight_scale,
            label_smoothing=self.label_smoothing,
            norm_momentum=self.norm_momentum,
            param_dtype=self.param_dtype,
            compute_dtype=self.compute_dtype,
        )

    def optimizer(self, num_rows: int) -> tuple[UpdateRule, dict[str, Any]]:
        """The update rule for a number of training rows, and the hyper-parameters for its `init`.

        Raises:
            ValueError: an unknown name, or a hyper-parameter that the rule does not have.
        """
        chosen = rule(self.update_rule)
        hyper: dict[str, Any] = {"learning_rate": self.learning_rate}
        for name in ("weight_decay", "momentum", "decay_rate", "beta1", "beta2", "epsilon"):
            value = getattr(self, name)
            if value is not None:
                if name not in chosen.hyper:
                    raise ValueError(f"{name}={value}: {chosen.name} has none; it has {', '.join(chosen.hyper)}")
                hyper[name] = value
        check_number("warmup_epochs", self.warmup_epochs, low=0)
        steps_per_epoch = max(num_rows // max(self.batch_size, 1), 1)
        hyper["schedule"] = Schedule(
            warmup_steps=round(self.warmup_epochs * steps_per_epoch),
            total_steps=max(self.epochs, 1) * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            lr_decay=self.lr_decay,
        )
        scheduled: UpdateRule = Scheduled(chosen, self.schedule)
        if self.clip_norm is None:
            return scheduled, hyper
        check_number("clip_norm", self.clip_norm, low=0, exclude="low")
        return Clipped(scheduled), hyper | {"max_norm": self.clip_norm}

    def to_json(self) -> str:
        """The settings as JSON, one a line."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """Read the settings that `to_json` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: it is no such file.
        """
        return read_settings(path, cls.from_values, of="training run")

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> "TrainConfig":
        """Make the settings of what JSON has of them."""
        return cls(**{**values, "hidden": tuple(values["hidden"])})

    def differences(self, other: "TrainConfig") -> list[str]:
        """The names of the settings that differ."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def read_settings(path: Path, make: Callable[[dict[str, Any]], Any], *, of: str) -> Any:
    """Read settings from a JSON file.

    Args:
        path: the file.
        make: what makes settings of the values in it.
        of: what they are settings of, for the message.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: it holds no such settings.

    >>> read_settings(Path("absent.json"), dict, of="search")
    Traceback (most recent call last):
    FileNotFoundError: absent.json: no such file; expected the folder of a search
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the folder of a {of}")
    try:
        return make(json.loads(path.read_text()))
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path} holds no settings of a {of} ({error}): restore it from a copy") from error
