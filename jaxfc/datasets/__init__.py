"""The data sets `jaxfc.load` knows by name, and the readers of a user's own files."""

from collections.abc import Callable
from pathlib import Path

from jaxfc.data import Dataset
from jaxfc.datasets import cifar10, digits, idx

LOADERS: dict[str, Callable[[str | Path | None], Dataset]] = {
    "digits": digits.load,
    "cifar10": cifar10.load,
    "mnist": idx.load_mnist,
    "fashion_mnist": idx.load_fashion_mnist,
}
