"""A trained network with all that is needed to use it, and its file."""

import dataclasses
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Integer, Num

from jaxfc import checkpoint, network
from jaxfc.data import Dataset, Normalizer, check_examples
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.network import FCNet, Params, Stats

KIND = "jaxfc model"
ROWS = 8192  # rows computed at once: bounds the memory that activations take

Rows = Num[np.ndarray, "rows features"]


class Classifier:
    """What a model and an ensemble share: a classifier of rows that are not normalized yet.

    >>> issubclass(Model, Classifier)
    True
    """

    net: FCNet
    classes: tuple[str, ...]

    def probabilities(self, x: Rows) -> Float[Any, "rows classes"]:
        """Class probabilities of rows that were checked, and are no more than `ROWS`."""
        raise NotImplementedError

    def predict_proba(self, x: Rows) -> Float[np.ndarray, "rows classes"]:
        """Class probabilities of rows that are not normalized yet.

        Raises:
            ValueError: not `(rows, net.input_dim)`, no rows, or a NaN or infinite value.
        """
        check_examples(x, None, len(self.classes), what="inputs", features=self.net.input_dim)
        # The last chunk is padded, so that a large input compiles one program.
        size = min(len(x), ROWS)
        chunks = [x[start : start + size] for start in range(0, len(x), size)]
        padded = [np.pad(chunk, ((0, size - len(chunk)), (0, 0))) for chunk in chunks]
        return np.concatenate([np.asarray(self.probabilities(chunk)) for chunk in padded])[: len(x)]

    def predict(self, x: Rows) -> Integer[np.ndarray, " rows"]:
        """The most probable class's index, for each row; its name is `classes[index]`.

        Raises:
            ValueError: as `predict_proba`.
        """
        return self.predict_proba(x).argmax(axis=1)

    def accuracy(self, x: Rows, y: Integer[np.ndarray, " rows"]) -> float:
        """The fraction of rows whose most probable class is the label.

        Raises:
            ValueError: as `predict_proba`; labels of another shape or out of range.
            TypeError: labels that are not integers.
        """
        check_examples(x, y, len(self.classes), what="examples", features=self.net.input_dim)
        return float(np.mean(self.predict(x) == y))


@dataclass(frozen=True)
class Model(Classifier):
    """A network with its parameters, the normalizer of its inputs and the names of its classes.

    It takes inputs as the data set had them (uint8 images, a table's numbers), and never holds
    training data.

    Args:
        net: the network.
        params: its parameters.
        stats: its running statistics.
        normalizer: applied to inputs first.
        classes: the classes' names, by label.
        image_shape: `(height, width)` or `(channels, height, width)` where rows are images.
        feature_names: the columns' names where rows come from a table.

    >>> from jaxfc import fit, load
    >>> data = load("digits")
    >>> net = FCNet(64, (32,), 10)
    >>> model = fit(net, "adam", data, epochs=1, verbose=False).model(data)
    >>> model.predict_proba(data.x_test[:3]).shape
    (3, 10)
    """

    net: FCNet
    params: Params
    stats: Stats
    normalizer: Normalizer
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, net: FCNet, params: Params, stats: Stats, data: Dataset) -> "Model":
        """Join parameters with what the data set knows."""
        return cls(net, params, stats, data.normalizer, data.classes, data.image_shape, data.feature_names)

    def probabilities(self, x: Rows) -> Float[Any, "rows classes"]:
        """Class probabilities of rows that were checked, and are no more than `ROWS`."""
        return _probabilities(self.net, self.params, self.stats, self.normalizer, x)

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors, atomically.

        Tensors are `layers.0.w` `(in, out)`, `layers.0.b` …, `stats.0.mean` …, `normalizer.mean` and
        `normalizer.scale`; the metadata holds the rest as JSON.

        Raises:
            OSError: the file cannot be written; what stood there before is untouched.
        """
        metadata = {
            checkpoint.FORMAT: KIND,
            "net": describe(self.net),
            "classes": list(self.classes),
            "image_shape": self.image_shape,
            "feature_names": self.feature_names,
        }
        checkpoint.save(path, _tree(self.params, self.stats, self.normalizer), metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a model that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: the file is corrupted, truncated, or no model of this library.
            PrecisionError: it is a float64 model, and JAX's 64-bit mode is off.
        """
        tensors, metadata = checkpoint.read(path, kind=KIND)
        try:
            net = FCNet(**json.loads(metadata["net"]))
            classes = tuple(json.loads(metadata["classes"]))
            image_shape, feature_names = (json.loads(metadata[k]) for k in ("image_shape", "feature_names"))
            params, stats = jax.eval_shape(partial(network.init, net), jax.random.key(0))
            normalizer = Normalizer(tensors["normalizer.mean"], tensors["normalizer.scale"])
            tree = checkpoint.restore(tensors, _tree(params, stats, normalizer), path)
        except PrecisionError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path} holds no usable model ({error}): restore it from a copy") from error
        return cls(
            net,
            tree["layers"],
            tree["stats"],
            tree["normalizer"],
            classes,
            None if image_shape is None else tuple(image_shape),
            None if feature_names is None else tuple(feature_names),
        )


@jax.jit
def _probabilities(net: FCNet, params: Params, stats: Stats, normalizer: Normalizer, x: Any) -> jax.Array:
    return network.predict_proba(net, params, stats, normalizer(x, net.dtype))


def _tree(params: Any, stats: Any, normalizer: Normalizer) -> dict[str, Any]:
    return {"layers": params, "normalizer": normalizer, "stats": stats}


def describe(net: FCNet) -> dict[str, Any]:
    """A network's fields as JSON has them: `FCNet(**describe(net))` is the network again.

    >>> describe(FCNet(4, (8,), 3, reg=np.float32(0.5)))["reg"]
    0.5
    """

    def plain(value: Any) -> Any:
        return value.item() if isinstance(value, jax.Array | np.ndarray | np.generic) else value

    return {field.name: plain(getattr(net, field.name)) for field in dataclasses.fields(net)}
