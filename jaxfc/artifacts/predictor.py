"""What a model and an ensemble share: predicting rows that are not normalized yet, measuring, and their file."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, DTypeLike, Float, Num

from jaxfc.artifacts import checkpoint
from jaxfc.console import progress_bar
from jaxfc.data import Columns, Dataset, Encoding, FileRows, as_device_rows, augment, check_inputs
from jaxfc.data import saved as encodings
from jaxfc.description import describe, restore
from jaxfc.errors import FormatError, PrecisionError, unknown_name
from jaxfc.networks import NETWORKS, Network, apply
from jaxfc.networks.contract import dtype
from jaxfc.objective import ROWS
from jaxfc.parallel import MeshSpec, check_use, fetched, mesh_of, put, row_sharding
from jaxfc.tasks import TASKS, Task

if TYPE_CHECKING:
    from jaxfc.artifacts.calibrated import Conformal

MOST_COPIES = 1000  # of a row, over which predictions are averaged

Rows = Num[np.ndarray | FileRows, "rows features"]


class About(NamedTuple):
    """What a model's inputs and targets are.

    Args:
        targets: the kind of targets, as in `jaxfc.Dataset`.
        classes: the classes' or labels' names.
        image_shape: `(height, width)` or `(channels, height, width)` where rows are images.
        feature_names: the columns' names where rows come from a table.
        target_names: the names of what is predicted by regression.
        augmentations: those trained with.
        num_targets: how many there are; 0 for as many as classes.
        columns: what makes a row of a table's columns, where that is not plain numbers.

    >>> from jaxfc import load
    >>> About.of(load("digits")).image_shape
    (8, 8)
    """

    targets: str = "classes"
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    target_names: tuple[str, ...] | None = None
    augmentations: tuple[Callable, ...] = ()
    num_targets: int = 0
    columns: Columns | None = None

    @classmethod
    def of(cls, data: Dataset, augmentations: tuple = ()) -> "About":
        """What a data set knows."""
        names = (data.image_shape, data.feature_names, data.target_names)
        return cls(data.targets, data.classes, *names, tuple(augmentations), data.num_outputs, data.columns)

    @classmethod
    def restored(cls, values: Mapping[str, Any], known: list[Any]) -> "About":
        """What a file's metadata have of it."""
        about = cls(**{name: restore(values[name], known) for name in cls._fields if name in values})
        for name in ("classes", "image_shape", "feature_names", "target_names"):
            if not isinstance(getattr(about, name), tuple | None):
                raise TypeError(f"{name} is {getattr(about, name)!r}, and no list")
        if not isinstance(about.columns, Columns | None):
            raise TypeError(f"columns is {about.columns!r}, and no columns")
        return about

    def outputs(self) -> tuple[str, ...]:
        """The names of what is predicted."""
        return self.classes or self.target_names or ()


class Predictor:
    """A predictor of rows that are not normalized yet.

    >>> from jaxfc import Model
    >>> issubclass(Model, Predictor)
    True
    """

    kind: ClassVar[str]
    net: Network
    task: Task
    about: About

    def _predictions(self, x: Any, key: Any) -> Float[Any, "rows predictions"]:
        """Predictions for rows that were checked, no more than `ROWS`; with a key, for augmented ones."""
        raise NotImplementedError

    def _spread(self, mesh: Mesh) -> "Predictor":
        """Itself, with its arrays on all devices of a mesh."""
        raise NotImplementedError

    def _with_task(self, **changes: Any) -> "Predictor":
        """Itself, with fields of its task changed, of every member's."""
        raise NotImplementedError

    def _members(self) -> list[Any]:
        """The models it is the mean of."""
        raise NotImplementedError

    def _tree(self) -> dict[str, Any]:
        """Its arrays."""
        raise NotImplementedError

    def _description(self) -> dict[str, Any]:
        """What its file says of its networks and tasks."""
        raise NotImplementedError

    @property
    def encoding(self) -> Encoding:
        """What turns rows into the network's inputs; of several networks, the first one's."""
        raise NotImplementedError

    @property
    def num_features(self) -> int:
        """How many numbers a row has."""
        return self.encoding.num_features

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' or labels' names."""
        return self.about.classes

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """`(height, width)` or `(channels, height, width)` where rows are images."""
        return self.about.image_shape

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The columns' names where rows come from a table."""
        return self.about.feature_names

    def prediction(
        self, x: Rows, *, copies: int = 0, mesh: MeshSpec | None = None, progress: bool | None = False
    ) -> Float[np.ndarray, "rows predictions"]:
        """The task's predictions: probabilities, or values in the target's own units.

        Args:
            x: rows as the data set had them.
            copies: average over so many augmented copies of each row, drawn as in training, beside the row itself.
            mesh: the devices that rows are divided among, such as `"data=8"`; by default one.
            progress: show a bar of the rows done; None: where the output is a terminal, or a notebook.

        Raises:
            ValueError: a mesh that does not fit the devices; rows that are not `(rows, num_features)`, no rows, an
                infinite value, or NaN where none may be missing; or copies, and the model was trained without
                augmentations of inputs.
        """
        check_inputs(x, what="inputs", features=self.num_features, missing=self.encoding.takes_missing)
        x = as_device_rows(x, what="inputs", wide=jax.config.jax_enable_x64, learned=False)
        if copies < 0 or (copies and not self.copied(object())):
            raise ValueError(f"copies={copies}: the model was trained without augmentations to draw copies by; use 0")
        if copies > MOST_COPIES:
            raise ValueError(f"copies={copies} must be at most {MOST_COPIES}")
        mesh = mesh_of(mesh)
        check_use(mesh, ("data",), "a prediction")
        count = mesh.shape["data"]
        there = self if count == 1 else self._spread(mesh)
        # The last chunk is padded, so that a large input compiles one program. What is drawn depends on a chunk's
        # first row, and so not on the number of devices.
        size = min(len(x), ROWS if copies else ROWS * count)
        room = -(-size // count) * count
        parts = []
        with progress_bar(progress, total=len(x), done=0, unit="row") as bar:
            for start in range(0, len(x), size):
                chunk = np.asarray(x[start : start + size])
                padded = np.pad(chunk, ((0, room - len(chunk)), (0, 0)))
                padded = padded if count == 1 else put(padded, row_sharding(mesh))
                keys = [None, *(jax.random.fold_in(jax.random.key(copy), start) for copy in range(copies))]
                each = (fetched(there._predictions(padded, key)) for key in keys)
                parts.append((sum(each) / len(keys))[: len(chunk)])
                bar.update(len(chunk))
        return np.concatenate(parts)

    def copied(self, key: Any) -> tuple[Callable, ...]:
        """The augmentations that copies are drawn by: those that leave targets as they are."""
        if key is None:
            return ()
        return tuple(each for each in self.about.augmentations if not getattr(each, "mixes", False))

    def predict_proba(
        self, x: Rows, *, copies: int = 0, mesh: MeshSpec | None = None
    ) -> Float[np.ndarray, "rows classes"]:
        """Probabilities of classes or labels; `prediction` by its usual name."""
        return self.prediction(x, copies=copies, mesh=mesh)

    def predict(self, x: Rows, *, copies: int = 0, mesh: MeshSpec | None = None) -> Num[np.ndarray, "rows *outputs"]:
        """Answers: the most probable class's index (its name is `classes[index]`), labels, or values.

        Raises:
            ValueError: as `prediction`.
        """
        return np.asarray(self.task.answer(self.prediction(x, copies=copies, mesh=mesh)))

    def evaluate(
        self,
        x: Rows,
        y: Num[np.ndarray, "rows *outputs"],
        weights: Any = None,
        *,
        copies: int = 0,
        metrics: Iterable[str] | None = None,
        mesh: MeshSpec | None = None,
    ) -> dict[str, float]:
        """Metrics of the task, by name; see `jaxfc.metrics`.

        Args:
            x: rows as the data set had them.
            y: their targets.
            weights: their weights.
            copies: see `prediction`.
            metrics: names of the metrics to measure; by default all.
            mesh: see `prediction`.

        Raises:
            ValueError, TypeError: as `prediction`; targets that do not fit, a metric that the task has not.
        """
        names = list(self.task.metrics if metrics is None else metrics)
        for name in names:
            if name not in self.task.metrics:
                raise unknown_name(f"metric of {type(self.task).__name__}", name, self.task.metrics)
        self.check_targets(x, y)
        return self.task.measure(self.prediction(x, copies=copies, mesh=mesh), y, weights, names)

    def accuracy(self, x: Rows, y: Num[np.ndarray, "rows *classes"]) -> float:
        """The fraction of rows whose most probable class is the label.

        Raises:
            ValueError: as `prediction`; labels of another shape or out of range; no classification.
            TypeError: labels that are not integers.
        """
        if self.about.targets != "classes":
            raise ValueError(f"accuracy is for classes; this model predicts {self.about.targets}: use evaluate(x, y)")
        self.check_targets(x, y)
        return float(np.mean(self.predict(x) == (y if y.ndim == 1 else y.argmax(axis=1))))

    def check_targets(self, x: Rows, y: Any) -> None:
        """Raise unless targets fit the rows and the model."""
        from jaxfc.data import check_examples

        about = self.about
        how = {"features": self.num_features, "targets": about.targets, "missing": self.encoding.takes_missing}
        check_examples(x, y, about.num_targets or len(about.classes), what="examples", **how)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, atomically; metadata hold what is no array, as JSON.

        Of a model, tensors are `layers.0.w` `(in, out)`, `layers.0.b` … (the paths of the parameters' tree),
        `stats.0.mean` …, `normalizer.mean` and `normalizer.scale`; of an ensemble, `parts.0.params.0.w`
        `(members, in, out)` and so on.

        Raises:
            OSError: the file cannot be written; what stood there before is untouched.
        """
        about = {name: describe(value) for name, value in self.about._asdict().items()}
        checkpoint.save(path, self._tree(), {checkpoint.FORMAT: self.kind, **self._description(), **about})

    def calibrated(self, x: Rows, y: Num[np.ndarray, "rows *outputs"], weights: Any = None) -> "Predictor":
        """The same with a temperature that makes its probabilities fit held-out rows; see `artifacts.calibrated`."""
        from jaxfc.artifacts.calibrated import calibrated

        return calibrated(self, x, y, weights)

    def with_threshold(
        self, x: Rows, y: Num[np.ndarray, "rows *outputs"], weights: Any = None, *, metric: str = "f1"
    ) -> "Predictor":
        """The same with thresholds in place of one half, the best on held-out rows; see `artifacts.calibrated`."""
        from jaxfc.artifacts.calibrated import with_threshold

        return with_threshold(self, x, y, weights, metric=metric)

    def conformal(self, x: Rows, y: Num[np.ndarray, "rows *outputs"]) -> "Conformal":
        """Intervals around a regression's predictions, by held-out rows; see `artifacts.calibrated`."""
        from jaxfc.artifacts.calibrated import conformal

        return conformal(self, x, y)

    def to_onnx(self, path: str | Path, *, dtype: DTypeLike = "float32") -> None:
        """Write the whole prediction, preprocessing included, as an ONNX file that any runtime of it reads.

        Input `x` is rows as `prediction` takes them, `(batch, features)`, of a batch of any size; output `prediction`
        is what it returns. Metadata hold the classes' and the columns' names, as JSON. A network that computes in
        bfloat16 computes in float32 there.

        Args:
            path: the file; replaced in one step if it exists.
            dtype: of the rows: `"float32"`, or `"uint8"` for images as bytes.

        Raises:
            ImportError: the `onnx` package is not installed.
            ValueError: a primitive of JAX's that has no counterpart, named; parameters of 2 GiB or more.
            TypeError: a network of your own that takes the batch's size for a number (`len(x)`: write `x.shape[0]`).
            OSError: the file cannot be written; what stood there before is untouched.

        The format: https://onnx.ai/onnx/repo-docs/IR.html, operators of version 18.
        """
        from jaxfc.artifacts.exports.onnx_file import write_onnx

        write_onnx(self, path, dtype=dtype)

    def export(
        self,
        path: str | Path | None = None,
        *,
        platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
        dtype: DTypeLike = "float32",
    ) -> bytes:
        """The whole prediction, preprocessing included, as StableHLO, for machines that need not be at hand.

        It is called where JAX is, without this library, on `(batch, features)` rows of a batch of any size:
        `jax.export.deserialize(bytearray(contents)).call(x)`.

        Args:
            path: a file to write; replaced in one step if it exists.
            platforms: those to compile for: `"cpu"`, `"cuda"`, `"tpu"`, `"rocm"`.
            dtype: of the rows, as in `to_onnx`.

        Raises:
            ImportError: the `flatbuffers` package, which JAX writes it by, is not installed.
            ValueError: an unknown platform or type.
            TypeError: a network of your own that takes the batch's size for a number.
            OSError: the file cannot be written; what stood there before is untouched.
        """
        from jaxfc.artifacts.exports.stablehlo import stablehlo
        from jaxfc.artifacts.files import write_atomically

        contents = stablehlo(self, platforms, dtype)
        if path is not None:
            write_atomically(path, contents)
        return contents

    @staticmethod
    def metadata(text: Mapping[str, str]) -> dict[str, Any]:
        """A file's metadata, from JSON."""
        values = {name: value for name, value in text.items() if not name.startswith("jaxfc.")}
        # A text alone is kept as it is.
        return {name: value if name == "targets" else json.loads(value) for name, value in values.items()}


def library_and(known: Iterable[Any]) -> list[Any]:
    """The classes and functions that a file may name: the library's, and those handed over.

    >>> library_and([jnp.sin])[-1] is jnp.sin
    True
    """
    return [*NETWORKS, *TASKS.values(), *encodings.KNOWN, *augment.BUILT_IN, *known]


@contextmanager
def guarded(path: str | Path, kind: str) -> Iterator[None]:
    """Turn what is wrong with a file's contents into a `FormatError`.

    >>> with guarded("m.safetensors", "model"):
    ...     {}["net"]
    Traceback (most recent call last):
    jaxfc.errors.FormatError: m.safetensors holds no usable model ('net'): restore it from a copy
    """
    try:
        yield
    except PrecisionError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise FormatError(f"{path} holds no usable {kind} ({error}): restore it from a copy") from error


@partial(jax.jit, static_argnames="augmentations")
def predictions(
    net: Network, task: Task, params: Any, stats: Any, normalizer: Encoding, x: Any, augmentations: tuple, key: Any
) -> Float[Array, "rows predictions"]:
    """Predictions for rows as stored, or for augmented copies of them.

    >>> from jaxfc import Classification, FCNet, init, load
    >>> data, net = load("digits"), FCNet(64, (), 10)
    >>> params, stats = init(net, jax.random.key(0))
    >>> predictions(net, Classification(), params, stats, data.normalizer, data.x_test[:3], (), None).shape
    (3, 10)
    """
    if augmentations:
        blank = jnp.zeros(len(x))
        whole = {"normalize": lambda x: normalizer(x, dtype(net)), "soften": lambda y: y}
        x, _ = augment.augment(augmentations, key, x, blank, **whole)
    else:
        x = normalizer(x, dtype(net))
    return task.decode(apply(net, params, stats, x)[0])
