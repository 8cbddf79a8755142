"""What the tests of training share: small data sets of every kind of targets, and trainings of one small network.

A network, a rule and shapes that differ are another program to compile: whoever can, takes these.
"""

import chex
import numpy as np

from jaxfc import Dataset, FCNet, fit
from jaxfc.data import standardized

QUIET = {"verbose": False, "progress": False}
NET = FCNet(4, (8,), 3, normalization="batchnorm", dropout_keep_ratio=0.9, reg=1e-3)
PLAIN = FCNet(4, (8,), 3)


def blobs():
    """Three classes that a small network separates in a few epochs, as uint8."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300).astype(np.int32)
    x = (rng.normal(size=(300, 4)) * 10 + 40 + 60 * np.eye(4)[y]).clip(0, 255).astype(np.uint8)
    return _dataset("blobs", x, y, classes=("a", "b", "c"))


def labels():
    """Three labels for each row, each the sign of a sum of its own."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    return _dataset("labels", x, (x @ rng.normal(size=(4, 3)) > 0.5).astype(np.uint8), "labels", ("a", "b", "c"))


def numbers(outputs=3):
    """Numbers far from zero mean and unit scale, nearly linear in a row."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    y = 1000 + 50 * (np.tanh(x) @ rng.normal(size=(4, outputs)) + 0.1 * rng.normal(size=(300, outputs)))
    return _dataset("numbers", x, y.astype(np.float32)[:, 0] if outputs == 1 else y.astype(np.float32), "numbers")


def _dataset(name, x, y, targets="classes", classes=()):
    normalizer = standardized(x[:200], per_feature=True)
    return Dataset(name, x[:200], y[:200], x[200:], y[200:], None, None, classes, normalizer, targets=targets)


def run(data, net=NET, rule="adam", **kwargs):
    """Train for four epochs of six batches, unless told otherwise."""
    settings = {"hyper": {"learning_rate": 3e-2}, "epochs": 4, "batch_size": 32} | QUIET
    return fit(net, rule, data, **settings | kwargs)


class Stop(Exception):
    """What ends a run from a callback, as a crash would."""


def stop_after(epoch):
    """A callback that ends a run after an epoch."""

    def stop(report):
        if report.epoch == epoch:
            raise Stop

    return stop


def assert_same_bits(one, other):
    """Assert that two runs left the same arrays."""
    others = dict.fromkeys(("net", "task", "stopped", "augmentations"))
    chex.assert_trees_all_equal(one._asdict() | others, other._asdict() | others)
