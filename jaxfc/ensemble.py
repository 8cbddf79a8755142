"""Several networks as one model: the mean of their probabilities."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxfc import checkpoint, network
from jaxfc.data import Dataset, Normalizer
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.model import Classifier, Rows, describe
from jaxfc.network import FCNet, Params, Stats

KIND = "jaxfc ensemble"


class Part(NamedTuple):
    """Members of one shape: a network, and their parameters stacked along a first axis.

    >>> net = FCNet(2, (), 2)
    >>> params, stats = network.init(net, jax.random.key(0))
    >>> Part(net, *_stack([(params, stats), (params, stats)])).params[0]["w"].shape
    (2, 2, 2)
    """

    net: FCNet
    params: Params
    stats: Stats


@dataclass(frozen=True)
class Ensemble(Classifier):
    r"""The mean of several networks' probabilities, $\frac1k \sum_i p_i(y \mid x)$.

    Networks of one shape are stacked and computed together. Used as a `jaxfc.Model` is.

    Args:
        parts: the networks.
        normalizer: applied to inputs first.
        classes: the classes' names, by label.
        image_shape: as in `jaxfc.Model`.
        feature_names: as in `jaxfc.Model`.

    >>> from jaxfc import fit, load
    >>> data = load("digits")
    >>> net = FCNet(64, (16,), 10)
    >>> runs = [fit(net, "adam", data, epochs=1, seed=seed, verbose=False) for seed in (0, 1)]
    >>> ensemble = Ensemble.of([(net, run.best_params, run.best_stats) for run in runs], data)
    >>> ensemble.num_members, ensemble.predict_proba(data.x_test[:3]).shape
    (2, (3, 10))
    """

    parts: tuple[Part, ...]
    normalizer: Normalizer
    classes: tuple[str, ...]
    image_shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, members: Sequence[tuple[FCNet, Params, Stats]], data: Dataset) -> "Ensemble":
        """Join networks, each with its parameters and statistics.

        Raises:
            ValueError: no members.
        """
        if not members:
            raise ValueError("an ensemble needs at least one member")
        shapes: dict[Any, list] = {}
        for net, params, stats in members:
            key = (jax.tree.structure(net), float(net.norm_eps))
            shapes.setdefault(key, []).append((net, params, stats))
        parts = tuple(Part(alike[0][0], *_stack([member[1:] for member in alike])) for alike in shapes.values())
        return cls(parts, data.normalizer, data.classes, data.image_shape, data.feature_names)

    @property
    def num_members(self) -> int:
        """The number of networks."""
        return sum(len(part.params[0]["w"]) for part in self.parts)

    @property
    def net(self) -> FCNet:
        """The first of its networks, for the shape of inputs."""
        return self.parts[0].net

    def probabilities(self, x: Rows) -> Float[Any, "rows classes"]:
        """Class probabilities of rows that were checked, and are no more than `ROWS`."""
        return sum(_probabilities(part, self.normalizer, x) for part in self.parts) / self.num_members

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, atomically: `parts.0.params.0.w` `(members, in, out)` and so on.

        Raises:
            OSError: the file cannot be written; what stood there before is untouched.
        """
        metadata = {
            checkpoint.FORMAT: KIND,
            "nets": [describe(part.net) for part in self.parts],
            "members": [len(part.params[0]["w"]) for part in self.parts],
            "classes": list(self.classes),
            "image_shape": self.image_shape,
            "feature_names": self.feature_names,
        }
        checkpoint.save(path, _tree([part[1:] for part in self.parts], self.normalizer), metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Ensemble":
        """Read an ensemble that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: the file is corrupted, truncated, or no ensemble of this library.
            PrecisionError: it holds float64 networks, and JAX's 64-bit mode is off.
        """
        tensors, metadata = checkpoint.read(path, kind=KIND)
        try:
            read = {
                name: json.loads(metadata[name])
                for name in ("nets", "members", "classes", "image_shape", "feature_names")
            }
            nets = [FCNet(**fields) for fields in read["nets"]]
            shapes = [_shapes(net, count) for net, count in zip(nets, read["members"], strict=True)]
            normalizer = Normalizer(tensors["normalizer.mean"], tensors["normalizer.scale"])
            tree = checkpoint.restore(tensors, _tree(shapes, normalizer), path)
        except PrecisionError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path} holds no usable ensemble ({error}): restore it from a copy") from error
        parts = tuple(Part(net, *arrays) for net, arrays in zip(nets, tree["parts"], strict=True))
        image_shape, names = (None if read[n] is None else tuple(read[n]) for n in ("image_shape", "feature_names"))
        return cls(parts, tree["normalizer"], tuple(read["classes"]), image_shape, names)


@jax.jit
def _probabilities(part: Part, normalizer: Normalizer, x: Any) -> jax.Array:
    """The sum of the members' probabilities."""
    x = normalizer(x, part.net.dtype)
    each = jax.vmap(lambda params, stats: network.predict_proba(part.net, params, stats, x))(part.params, part.stats)
    return each.sum(axis=0)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _shapes(net: FCNet, members: int) -> Any:
    one = jax.eval_shape(partial(network.init, net), jax.random.key(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), one)


def _tree(parts: Sequence[Any], normalizer: Normalizer) -> dict[str, Any]:
    return {"normalizer": normalizer, "parts": list(parts)}
