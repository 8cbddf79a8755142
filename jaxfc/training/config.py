"""The settings of a training run: what the command line's flags are made of, and `config.json` holds."""

import dataclasses
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxfc.data import Dataset, Pooled, Splitting
from jaxfc.errors import FormatError, check_number, shortened, unknown_name
from jaxfc.networks import FCNet, Network, ResidualNet, TableNet
from jaxfc.optim import RULES, Clipped, Schedule, Scheduled, UpdateRule, help_of, muon, muon_bfloat16, rule
from jaxfc.tasks import Classification, Multilabel, Regression, Task
from jaxfc.training.settings import MOST_STEPS, RUN_NAMES, RunSettings

LOSSES = {
    "classification": ("softmax", "hinge"),
    "multilabel": ("sigmoid",),
    "regression": ("squared", "huber", "quantile"),
}


HYPER_NAMES = tuple(dict.fromkeys(name for each in RULES.values() for name in each.hyper))


def _hyper_settings() -> type:
    """A dataclass with a field for each hyper-parameter of a rule; None stands for the rule's own default."""
    made = dataclasses.make_dataclass(
        "HyperSettings", [(name, float | None, dataclasses.field(default=None)) for name in HYPER_NAMES], frozen=True
    )
    lines = "\n".join(f"    {name}: {help_of(name)}" for name in HYPER_NAMES)
    example = ">>> HyperSettings(momentum=0.8).momentum\n0.8\n"
    made.__doc__ = f"Hyper-parameters of update rules; by default each rule's own.\n\nArgs:\n{lines}\n\n{example}"
    made.__module__ = __name__
    return made


HyperSettings = _hyper_settings()


@dataclass(frozen=True)
class TrainConfig(RunSettings, HyperSettings):  # type: ignore[misc, valid-type]
    """Train a network, and keep it, its curves and a checkpoint in a run folder."""

    data: str = "digits"
    """digits, cifar10, mnist or fashion_mnist; or the path of a .npz, .npy, .csv, .parquet or .arrow file."""
    data_dir: str | None = None
    """Folder that holds the data set's files (default: $JAXFC_DATA, else they are downloaded once)."""
    label: str | None = None
    """Label column of a .csv, by name or index (default: the last); several are joined by commas."""
    column: tuple[str, ...] = ()
    """What columns of a table are: NAME=number, =category, =date, or =skip (default: as recognized; see inspect)."""
    split_by: str | None = None
    """Column of a table; rows that have the same in it are held out together. It is not learned from."""
    split_time: str | None = None
    """Column of dates or numbers; the latest rows of a table are held out. It is not learned from."""
    stratify: bool = False
    """Hold out as large a part of each class of a table."""
    weights: str | None = None
    """Column of a .csv, or array of a .npz, with a weight for each example."""
    class_weight: tuple[str, ...] = ()
    """Weights of classes in the loss: balanced, or NAME=WEIGHT for each."""
    num_train: int | None = None
    """Train on the first so many rows only."""
    pool: int = 1
    """Train on means over squares of so many pixels a side, of images (1: on the pixels)."""
    task: str = "classification"
    """classification, multilabel or regression."""
    loss: str | None = None
    """softmax or hinge; sigmoid; squared, huber or quantile (default: the first of the task's)."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1), of the softmax loss."""
    huber_delta: float = 1.0
    """Residual, in the target's standard deviations, beyond which the Huber loss is linear."""
    quantiles: tuple[float, ...] = ()
    """Quantiles to predict, of the quantile loss (default: the median)."""
    rank: str | None = None
    """Metric that ranks epochs and candidates (default: acc, f1 or r2)."""
    network: str = "plain"
    """plain, or residual: a stream of that width, with a block for each of --hidden, all alike."""
    numbers: str = "plain"
    """Embedding of a table's numbers in plain networks: plain (none), periodic or piecewise (linear)."""
    categories: str = "one-hot"
    """Of a table's categories with more than 8 values, in plain networks: one-hot, or embed, which is learned."""
    hidden: tuple[int, ...] = (100, 100)
    """Widths of the hidden layers; none for a linear model."""
    normalization: str | None = None
    """batchnorm, layernorm or rmsnorm (default: none; in residual networks layernorm)."""
    activation: str | None = None
    """relu, leaky_relu, tanh, sigmoid, silu or gelu (default: relu; in residual networks gelu)."""
    dropout_keep_ratio: float | None = None
    """Ratio of activations kept by dropout, in (0, 1]."""
    expansion: int = 4
    """Inner width of a residual block, in widths of the stream."""
    depth_keep_ratio: float | None = None
    """Ratio of examples for which stochastic depth keeps the last residual block, in (0, 1]."""
    reg: float | None = None
    """L2 strength, of 0.5 * reg * sum(w**2)."""
    weight_scale: float | Literal["he", "glorot", "lecun"] = "he"
    """Standard deviation of the initial weights, or a rule for it."""
    norm_momentum: float = 0.9
    """Part of batchnorm's running statistics kept at each step."""
    param_dtype: str = "float32"
    """float32, float64 or bfloat16."""
    compute_dtype: str | None = None
    """Type of activations and matrix products (default: that of the parameters)."""
    update_rule: str = "adam"
    """sgd, sgd_momentum, nesterov, rmsprop, adagrad, adam, adamw, lion or muon."""
    clip_norm: float | None = None
    """Clip gradients to this global norm."""
    schedule: str = "exponential"
    """exponential (by lr_decay), cosine, linear or constant."""
    lr_decay: float = 1.0
    """Factor on the learning rate after each epoch, of the exponential schedule."""
    warmup_epochs: float = 0.0
    """Epochs over which the learning rate rises to its full value."""
    tta: int = 0
    """Average predictions over so many augmented copies of each row."""

    def problem(self) -> Task:
        """The task.

        Raises:
            ValueError: an unknown name, or a number that the task does not have.

        >>> TrainConfig(task="regression", loss="huber").problem().rank
        'r2'
        """
        if self.task not in LOSSES:
            raise unknown_name("task", self.task, LOSSES)
        loss = self.loss or LOSSES[self.task][0]
        if loss not in LOSSES[self.task]:
            raise unknown_name(f"loss of a {self.task}", loss, LOSSES[self.task])
        if self.quantiles and self.task != "regression":
            raise ValueError(f"quantiles={self.quantiles}: a {self.task} has none; leave them out")
        rank = {} if self.rank is None else {"rank": self.rank}
        if self.task == "classification":
            return Classification(loss, self.label_smoothing, **rank)
        if self.label_smoothing:
            raise ValueError(f"label_smoothing={self.label_smoothing}: a {self.task} has none; leave it out")
        if self.task == "multilabel":
            return Multilabel(**rank)
        return Regression(loss, self.huber_delta, self.quantiles, **rank)

    def net(self, data: Dataset) -> Network:
        """The network for a data set.

        Raises:
            ValueError, TypeError: as `FCNet`, `ResidualNet` and `TableNet.of`.

        >>> from jaxfc.data import load
        >>> TrainConfig(hidden=(32,)).net(load("digits")).dims
        (64, 32, 10)
        """
        if not isinstance(self.hidden, tuple | list):
            raise TypeError(f"hidden={self.hidden!r} must be a tuple of widths; as a space, write choice:64,128x64")
        outputs = self.problem().num_outputs(data)
        shared = {
            name: getattr(self, name)
            for name in ("dropout_keep_ratio", "reg", "weight_scale", "norm_momentum", "param_dtype", "compute_dtype")
        }
        for name in ("normalization", "activation"):
            if getattr(self, name) is not None:
                shared[name] = getattr(self, name)
        if self.network == "plain":
            if self.depth_keep_ratio is not None:
                raise ValueError(f"depth_keep_ratio={self.depth_keep_ratio} needs network='residual'")
            if (self.numbers, self.categories) != ("plain", "one-hot"):
                return TableNet.of(
                    data, self.hidden, outputs, numbers=self.numbers, categories=self.categories, **shared
                )
            return FCNet(data.num_inputs, self.hidden, outputs, **shared)
        if self.network != "residual":
            raise unknown_name("network", self.network, ("plain", "residual"))
        if (self.numbers, self.categories) != ("plain", "one-hot"):
            raise ValueError(
                f"numbers={self.numbers!r}, categories={self.categories!r}: only plain networks embed them"
            )
        if not self.hidden or len(set(self.hidden)) > 1:
            raise ValueError(f"hidden={self.hidden}: a residual network needs at least one width, and all the same")
        shared |= {"expansion": self.expansion, "depth_keep_ratio": self.depth_keep_ratio}
        return ResidualNet(data.num_inputs, self.hidden[0], len(self.hidden), outputs, **shared)

    def optimizer(self, num_rows: int) -> tuple[UpdateRule, dict[str, Any]]:
        """The update rule for a number of training rows, and the hyper-parameters for its `init`.

        Raises:
            ValueError: an unknown name, or a hyper-parameter that the rule does not have.
        """
        chosen = rule(self.update_rule)
        if chosen is muon and self.compute_dtype == "bfloat16":
            chosen = muon_bfloat16
        hyper: dict[str, Any] = {name: getattr(self, name) for name in HYPER_NAMES if getattr(self, name) is not None}
        for name, value in hyper.items():
            if name not in chosen.hyper:
                raise ValueError(f"{name}={value}: {chosen.name} has none; it has {', '.join(chosen.hyper)}")
        steps_per_epoch = max(num_rows // max(self.batch_size, 1), 1)
        check_number("warmup_epochs", self.warmup_epochs, low=0, high=MOST_STEPS / steps_per_epoch)
        hyper["schedule"] = Schedule(
            warmup_steps=round(self.warmup_epochs * steps_per_epoch),
            total_steps=max(self.epochs, 1) * steps_per_epoch,
            steps_per_epoch=steps_per_epoch,
            lr_decay=self.lr_decay,
        )
        scheduled: UpdateRule = Scheduled(chosen, self.schedule)
        if self.clip_norm is None:
            return scheduled, hyper
        check_number("clip_norm", self.clip_norm, low=0, high=1e38, exclude="low")
        return Clipped(scheduled), hyper | {"max_norm": self.clip_norm}

    def build(self, data: Dataset, num_rows: int) -> tuple[Network, Task, UpdateRule, dict[str, Any]]:
        """Network, task, update rule and its hyper-parameters, for a number of training rows.

        Raises:
            ValueError, TypeError: settings that the network, task or rule refuses; data that are not pooled as `pool`
                says.
        """
        if self.pool > 1 and not isinstance(data.normalizer, Pooled):
            raise ValueError(f"pool={self.pool}: {data.name!r} is not pooled: give data.pooled({self.pool})")
        return self.net(data), self.problem(), *self.optimizer(num_rows)

    @property
    def settings(self) -> RunSettings:
        """Those that `fit` and a search take by the same names."""
        return RunSettings(**{name: getattr(self, name) for name in RUN_NAMES})

    def class_weights(self) -> str | dict[str, float] | None:
        """The class weights, as `fit` takes them.

        Raises:
            ValueError: neither `balanced` nor NAME=WEIGHT.

        >>> TrainConfig(class_weight=("cat=2", "dog=1")).class_weights()
        {'cat': 2.0, 'dog': 1.0}
        """
        if not self.class_weight:
            return None
        if self.class_weight == ("balanced",):
            return "balanced"
        weights = {}
        for each in self.class_weight:
            name, _, weight = each.rpartition("=")
            if name in weights:
                raise ValueError(f"class_weight names {shortened(name)!r} twice: name each class once")
            try:
                weights[name] = float(weight)
            except ValueError:
                name = ""
            if not name:
                raise ValueError(f"class_weight {shortened(each)!r}: write balanced, or NAME=WEIGHT for each class")
        return weights

    def columns(self) -> dict[str, str] | None:
        """What columns are said to be, as `load` takes it.

        Raises:
            ValueError: no NAME=KIND, or a column twice.

        >>> TrainConfig(column=("zip=category", "id=skip")).columns()
        {'zip': 'category', 'id': 'skip'}
        """
        return columns_of(self.column)

    def splitting(self) -> Splitting:
        """How rows are held out, as `load` takes it."""
        return Splitting(self.split_by, self.split_time, self.stratify)

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
        """Make the settings of what JSON has of them; version 0.1's `mirror` is now an augmentation."""
        if not isinstance(values, dict):
            raise TypeError(f"no settings by name, but a {type(values).__name__}")
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        if values.pop("mirror", False):
            values["augment"] = ("mirror",)
        check_types(cls, values)
        return cls(**values)

    def differences(self, other: "TrainConfig") -> list[str]:
        """The names of the settings that differ."""
        return [f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def columns_of(flags: Iterable[str]) -> dict[str, str] | None:
    """What columns are said to be by flags of the form NAME=KIND; None where there is no flag.

    >>> columns_of(["zip"])
    Traceback (most recent call last):
    ValueError: column 'zip': write NAME=number, =category, =date or =skip
    """
    said: dict[str, str] = {}
    for each in flags:
        name, _, kind = each.rpartition("=")
        if not name:
            raise ValueError(f"column {shortened(repr(each))}: write NAME=number, =category, =date or =skip")
        if name in said:
            raise ValueError(f"column names {shortened(repr(name))} twice: say what each column is once")
        said[name] = kind
    return said or None


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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError(f"{path} holds no settings of a {of} ({error}): restore it from a copy") from error


def check_types(settings: type, values: Mapping[str, Any]) -> None:
    """Raise a TypeError for a value from JSON that is of another type than the setting of that name.

    >>> check_types(TrainConfig, {"epochs": "5"})
    Traceback (most recent call last):
    TypeError: epochs is '5'
    """
    for field in dataclasses.fields(settings):
        if field.name in values and not _fits(values[field.name], field.type):
            raise TypeError(f"{field.name} is {shortened(repr(values[field.name]))}")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value from JSON is of the type that a setting has."""
    if kind is Any:
        return True
    if typing.get_origin(kind) is Literal:
        return value in typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(each, typing.get_args(kind)[0]) for each in value)
    if typing.get_args(kind):
        return any(_fits(value, each) for each in typing.get_args(kind))
    return isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
