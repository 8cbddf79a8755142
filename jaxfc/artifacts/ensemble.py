"""Several networks as one model: the mean of their predictions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxfc.artifacts import checkpoint
from jaxfc.artifacts.model import Model, of_version_0_1
from jaxfc.artifacts.predictor import About, Predictor, guarded, library_and, predictions
from jaxfc.data import Encoding
from jaxfc.data.saved import encoding_like, layout_of
from jaxfc.description import describe, restore
from jaxfc.networks import Network
from jaxfc.networks.contract import Params, Stats, shapes
from jaxfc.parallel import put, whole_sharding
from jaxfc.tasks import Task

KIND = "jaxfc ensemble"


class Part(NamedTuple):
    """Members of one shape, every leaf stacked along a first axis.

    >>> from jaxfc import FCNet, init
    >>> from jaxfc import Normalizer
    >>> net = FCNet(2, (), 2)
    >>> from jaxfc.tasks import Classification
    >>> one = Part(net, Classification(), *init(net, jax.random.key(0)), Normalizer(np.zeros(2, "f"), np.ones((), "f")))
    >>> _stack([one, one]).params[0]["w"].shape
    (2, 2, 2)
    """

    net: Network
    task: Task
    params: Params
    stats: Stats
    normalizer: Encoding

    @property
    def count(self) -> int:
        """The number of members."""
        return len(jax.tree.leaves(self.params)[0])

    def members(self) -> list["Part"]:
        """The members one by one."""
        return [jax.tree.map(lambda leaf, i=i: leaf[i], self) for i in range(self.count)]


@dataclass(frozen=True)
class Ensemble(Predictor):
    r"""The mean of several networks' predictions: of a classification, $\frac1k \sum_i p_i(y \mid x)$.

    Networks of one shape are stacked and computed together. Used as a `jaxfc.Model` is.

    Args:
        parts: the networks.
        about: as in `jaxfc.Model`.

    >>> from jaxfc import FCNet, fit, load
    >>> data = load("digits")
    >>> net = FCNet(64, (16,), 10)
    >>> models = [fit(net, "adam", data, epochs=1, seed=seed, verbose=False).model(data) for seed in (0, 1)]
    >>> ensemble = Ensemble.of(models)
    >>> ensemble.num_members, ensemble.predict_proba(data.x_test[:3]).shape
    (2, (3, 10))
    """

    kind: ClassVar[str] = KIND
    parts: tuple[Part, ...]
    about: About

    @classmethod
    def of(cls, models: Sequence[Model]) -> "Ensemble":
        """Join models.

        Raises:
            ValueError: no models.
        """
        if not models:
            raise ValueError("an ensemble needs at least one member")
        alike: dict[Any, list[Part]] = {}
        for model in models:
            part = Part(model.net, model.task, model.params, model.stats, model.normalizer)
            leaves, structure = jax.tree.flatten(part)
            alike.setdefault((structure, *map(jnp.shape, leaves)), []).append(part)
        return cls(tuple(map(_stack, alike.values())), models[0].about)

    @property
    def num_members(self) -> int:
        """The number of networks."""
        return sum(part.count for part in self.parts)

    @property
    def net(self) -> Network:
        """The first of its networks, for the shape of inputs."""
        return self.parts[0].net

    @property
    def task(self) -> Task:
        """The task of its first member, for what is answered and measured."""
        return self.parts[0].members()[0].task

    def _predictions(self, x: Any, key: Any) -> Float[Any, "rows predictions"]:
        return sum(_summed(part, x, self.copied(key), key) for part in self.parts) / self.num_members

    @property
    def encoding(self) -> Encoding:
        """That of the first part."""
        return self.parts[0].normalizer

    def _spread(self, mesh: Mesh) -> "Predictor":
        return replace(self, parts=put(self.parts, whole_sharding(mesh)))

    def _with_task(self, **changes: Any) -> "Ensemble":
        def changed(part: Part) -> Part:
            stacked = {name: jnp.stack([jnp.asarray(each)] * part.count) for name, each in changes.items()}
            return part._replace(task=replace(part.task, **stacked))

        return replace(self, parts=tuple(map(changed, self.parts)))

    def _members(self) -> list[Model]:
        each = (one for part in self.parts for one in part.members())
        return [Model(one.net, one.params, one.stats, one.normalizer, self.about, one.task) for one in each]

    def _tree(self) -> dict[str, Any]:
        return {"parts": [_arrays(part) for part in self.parts]}

    def _description(self) -> dict[str, Any]:
        members = [[(describe(one.net), describe(one.task)) for one in part.members()] for part in self.parts]
        layouts = [layout_of(part.normalizer) for part in self.parts]
        return {"members": members} | ({"encodings": layouts} if any(layouts) else {})

    @classmethod
    def load(cls, path: str | Path, known: Iterable[Any] = ()) -> "Ensemble":
        """Read an ensemble that `save` wrote; arguments and errors are those of `jaxfc.Model.load`."""
        tensors, metadata = checkpoint.read(path, kind=KIND)
        with guarded(path, "ensemble"):
            values = cls.metadata(metadata)
            if "nets" in values:
                tensors, values = _of_version_0_1(tensors, values)
            parts, like = [], []
            for i, members in enumerate(values["members"]):
                described = [tuple(restore(each, library_and(known)) for each in pair) for pair in members]
                net, task = _stack(described)
                stacked = _shapes(described[0][0], len(members))
                layout = restore(values["encodings"][i], library_and(known)) if "encodings" in values else None
                norm = encoding_like(layout, tensors, f"parts.{i}.normalizer.", len(members))
                parts.append(Part(net, task, *stacked, norm))
                like.append(_arrays(parts[-1]))
            tree = checkpoint.restore(tensors, {"parts": like}, path)
            joined = tuple(part._replace(**arrays) for part, arrays in zip(parts, tree["parts"], strict=True))
            return cls(joined, About.restored(values, library_and(known)))


@partial(jax.jit, static_argnames="augmentations")
def _summed(part: Part, x: Any, augmentations: tuple, key: Any) -> Array:
    """The sum of the members' predictions."""

    def one(part: Part) -> Array:
        return predictions(*part, x, augmentations, key)

    return jax.vmap(one)(part).sum(axis=0)


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def _arrays(part: Part) -> dict[str, Any]:
    return {"params": part.params, "stats": part.stats, "normalizer": part.normalizer}


def _shapes(net: Network, members: int) -> tuple[Any, Any]:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), shapes(net))


def _of_version_0_1(
    tensors: Mapping[str, np.ndarray], values: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and metadata of version 0.1, which had one normalizer and one description for all of a part."""
    renamed = {}
    for name, tensor in tensors.items():
        _, place, which, rest = (*name.split(".", 3), "", "", "")[:4]
        if name.startswith("parts."):
            renamed[f"parts.{place}.{('params', 'stats')[int(which)]}.{rest}"] = tensor
    members = []
    for i, (net, count) in enumerate(zip(values["nets"], values["members"], strict=True)):
        members.append([of_version_0_1(net)] * count)
        for name in ("mean", "scale"):
            stacked = np.stack([tensors[f"normalizer.{name}"]] * count)
            renamed[f"parts.{i}.normalizer.{name}"] = stacked
    return renamed, {**values, "members": members}


def load_predictor(path: str | Path, known: Iterable[Any] = ()) -> Model | Ensemble:
    """Read a model or an ensemble, whichever the file holds; see `jaxfc.Model.load`.

    >>> load_predictor("absent.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: absent.safetensors: no such file; expected a jaxfc model
    """
    return (Ensemble if checkpoint.kind(path) == KIND else Model).load(path, known)
