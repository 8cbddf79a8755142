"""A trained network with all that is needed to use it, and its file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
from jax.sharding import Mesh
from jaxtyping import Float

from jaxfc.artifacts import checkpoint
from jaxfc.artifacts.predictor import About, Predictor, guarded, library_and, predictions
from jaxfc.data import Dataset, Encoding, Pooled
from jaxfc.data.saved import encoding_like, layout_of
from jaxfc.description import describe, restore
from jaxfc.networks import Network
from jaxfc.networks.contract import Params, Stats, shapes
from jaxfc.parallel import put, whole_sharding
from jaxfc.tasks import Classification, Task

KIND = "jaxfc model"


@dataclass(frozen=True)
class Model(Predictor):
    """A network with its parameters, its task, the normalizer of its inputs and the names of its classes.

    It takes inputs as the data set had them (uint8 images, a table's numbers), and never holds
    training data.

    Args:
        net: the network.
        params: its parameters.
        stats: its running statistics.
        normalizer: applied to inputs first.
        about: what its inputs and targets are.
        task: the task it was trained for.

    >>> from jaxfc import FCNet, fit, load
    >>> data = load("digits")
    >>> net = FCNet(64, (32,), 10)
    >>> model = fit(net, "adam", data, epochs=1, verbose=False).model(data)
    >>> model.predict_proba(data.x_test[:3]).shape
    (3, 10)
    """

    kind: ClassVar[str] = KIND
    net: Network
    params: Params
    stats: Stats
    normalizer: Encoding
    about: About
    task: Task = Classification()  # noqa: RUF009 (it is immutable)

    @classmethod
    def of(
        cls,
        net: Network,
        params: Params,
        stats: Stats,
        data: Dataset,
        *,
        task: Task = Classification(),  # noqa: B008
        augmentations: tuple = (),
    ) -> "Model":
        """Join parameters with what the data set knows."""
        return cls(net, params, stats, data.normalizer, About.of(data, augmentations), task)

    def _predictions(self, x: Any, key: Any) -> Float[Any, "rows predictions"]:
        return predictions(self.net, self.task, self.params, self.stats, self.normalizer, x, self.copied(key), key)

    @property
    def encoding(self) -> Encoding:
        """The normalizer."""
        return self.normalizer

    def _spread(self, mesh: Mesh) -> "Predictor":
        params, stats, normalizer = put((self.params, self.stats, self.normalizer), whole_sharding(mesh))
        return replace(self, params=params, stats=stats, normalizer=normalizer)

    def _with_task(self, **changes: Any) -> "Model":
        return replace(self, task=replace(self.task, **changes))

    def _members(self) -> list["Model"]:
        return [self]

    def _tree(self) -> dict[str, Any]:
        return {"layers": self.params, "normalizer": self.normalizer, "stats": self.stats}

    def _description(self) -> dict[str, Any]:
        layout = layout_of(self.normalizer)
        return {"net": describe(self.net), "task": describe(self.task)} | ({"encoding": layout} if layout else {})

    @classmethod
    def load(cls, path: str | Path, known: Iterable[Any] = ()) -> "Model":
        """Read a model that `save` wrote.

        Args:
            path: the file.
            known: your own classes and functions that it names (a network, a task, an activation): a file
                never names code to import.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: the file is corrupted, truncated, no model of this library, or names what is not in `known`.
            PrecisionError: it is a float64 model, and JAX's 64-bit mode is off.
        """
        tensors, metadata = checkpoint.read(path, kind=KIND)
        with guarded(path, "model"):
            values = cls.metadata(metadata)
            net, task = _restored(values, library_and(known))
            params, stats = shapes(net)
            normalizer = encoding_like(restore(values.get("encoding"), library_and(known)), tensors, "normalizer.")
            like = {"layers": params, "normalizer": normalizer, "stats": stats}
            tree = checkpoint.restore(tensors, like, path)
            about = About.restored(values, library_and(known))
            return cls(net, tree["layers"], tree["stats"], tree["normalizer"], about, task)

    def to_torch(self) -> Any:
        """The model as a `torch.nn.Sequential` of plain layers, in evaluation mode, with arrays of its own.

        Its first module normalizes inputs as the data had them (any number type), its last makes predictions of
        outputs: softmax or sigmoid, or a regression's mean and scale. In float32.

        Raises:
            ImportError: PyTorch is not installed.
            TypeError: another network than `FCNet`, an activation of your own, a task with a decoding of its own.
        """
        from jaxfc.artifacts.exports.torch_module import module_of

        return module_of(self)

    @property
    def num_members(self) -> int:
        """One."""
        return 1

    @property
    def first_weights(self) -> jax.Array | None:
        """The weights that multiply the inputs, `(in, out)`, where the network says which these are."""
        shape = getattr(self.net, "first_shape", None)
        return next((leaf for leaf in jax.tree.leaves(self.params) if leaf.shape == shape), None)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of the images that the network takes, means over squares where they are pooled, or None."""
        return self.normalizer.layout.pooled_shape if isinstance(self.normalizer, Pooled) else self.image_shape


def _restored(values: Mapping[str, Any], known: list[Any]) -> tuple[Network, Task]:
    net, task = of_version_0_1(values["net"]) if "type" not in values["net"] else (values["net"], values["task"])
    return restore(net, known), restore(task, known)


def of_version_0_1(net: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The descriptions of network and task that version 0.1 wrote as one, of a network alone.

    >>> of_version_0_1({"input_dim": 4, "num_classes": 3, "label_smoothing": 0.0})[1]
    {'type': 'Classification', 'label_smoothing': 0.0}
    """
    net = {"type": "FCNet", **net}
    net["output_dim"] = net.pop("num_classes")
    return net, {"type": "Classification", "label_smoothing": net.pop("label_smoothing")}
