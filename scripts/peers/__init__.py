"""The peers of the benchmark: the same training, written for several libraries.

Each module defines a class that is a `Peer`; `PEERS` lists them without importing any, because a
library that is not installed is no error and one that is not asked for should not take time.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from peers.work import Data, Work


class Outcome(NamedTuple):
    """What a peer reports of a stretch of training."""

    losses: Sequence[float]
    val_acc: float | None = None


class Peer(Protocol):
    """A library's way to do a `Work`. When a method returns, the device has finished computing.

    A peer may also have `note`, a remark for the table; `runs`, how many runs its `train` does where that
    is not one; `tune()`, which is called after the first round, untimed, to choose settings by trial; and
    `accuracy()`, on the validation rows, which is called after the last, untimed, where `train` reports none.
    """

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        """Make all that precedes training; the data go to the device as they are stored."""

    def start(self) -> None:
        """Draw new parameters."""

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, by row indices `(epochs, iterations, batch)`; in a whole run, evaluate after each epoch."""


class Entry(NamedTuple):
    """Where a peer is found: its title in the table, the package it needs, its module, class and variant.

    `works` are those that it takes part in; `unable` says why it cannot do the others.
    The variant `"bfloat16"` is of every library what it has for mixed precision, over float32 parameters.
    """

    title: str
    package: str
    module: str
    cls: str
    variant: str = ""
    works: str = "abcde"
    unable: str = ""

    @property
    def dtype(self) -> str:
        """The type of its matrix products."""
        return "bfloat16" if self.variant == "bfloat16" else "float32"


_NO_LAYERS = "has neither batchnorm nor dropout"

PEERS = {
    "jaxfc": Entry("jaxfc", "jax", "jaxfc_peer", "Jaxfc"),
    "jaxfc-search": Entry("jaxfc, search", "jax", "jaxfc_search_peer", "JaxfcSearch", works="de"),
    "jaxfc-autodiff": Entry("jaxfc, plain autodiff", "jax", "jaxfc_peer", "Jaxfc", "autodiff", works="a"),
    "jaxfc-streamed": Entry("jaxfc, rows on the host", "jax", "jaxfc_peer", "Jaxfc", "streamed", works="a"),
    "jaxfc-bfloat16": Entry("jaxfc, bfloat16", "jax", "jaxfc_peer", "Jaxfc", "bfloat16", works="abe"),
    "jaxfc-search-bfloat16": Entry(
        "jaxfc, search, bfloat16", "jax", "jaxfc_search_peer", "JaxfcSearch", "bfloat16", works="e"
    ),
    "torch": Entry("PyTorch, eager", "torch", "torch_peer", "Torch"),
    "torch-compile": Entry("PyTorch, compiled", "torch", "torch_peer", "Torch", "compile"),
    "torch-bfloat16": Entry("PyTorch, eager, bfloat16", "torch", "torch_peer", "Torch", "bfloat16", works="abe"),
    "flax": Entry("Flax NNX + Optax", "flax", "flax_peer", "Flax"),
    "equinox": Entry("Equinox + Optax", "equinox", "equinox_peer", "Equinox"),
    "sklearn": Entry("scikit-learn", "sklearn", "sklearn_peer", "Sklearn", works="bcde", unable=_NO_LAYERS),
    "numpy": Entry("NumPy", "numpy", "numpy_peer", "Numpy"),
}
