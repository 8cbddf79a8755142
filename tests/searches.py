"""What the tests of searches share: a small data set, a small configuration, and the training that a candidate is."""

import numpy as np

import jaxfc
from jaxfc import TrainConfig, search

# Three epochs, for programs that are compiled once serve all tests of a file that have them.
CONFIG = TrainConfig(hidden=(8,), epochs=3, batch_size=50)
SPACES = {"learning_rate": search.loguniform(1e-3, 1e-1), "reg": search.loguniform(1e-5, 1e-2)}


def digits(rows=200):
    return jaxfc.load("digits").subset(rows)


def table(targets="numbers", rows=160):
    """Rows of four features, and targets that follow from them: two numbers, or three labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    y = x @ rng.normal(size=(4, 3 if targets == "labels" else 2)) + 0.1 * rng.normal(size=(rows, 1)) + 5
    y = (y > 5).astype(np.uint8) if targets == "labels" else y.astype(np.float32)
    splits = [part for cut in (slice(100), slice(100, 130), slice(130, None)) for part in (x[cut], y[cut])]
    classes = ("a", "b", "c") if targets == "labels" else ()
    normalizer = jaxfc.Normalizer(np.zeros(4, np.float32), np.ones(4, np.float32))
    return jaxfc.Dataset("table", *splits, classes, normalizer, targets=targets)


def fit(data, config, **options):
    """The training that `jaxfc train` does of a configuration."""
    net, task, rule, hyper = config.build(data, len(data.x_train))
    run = {**vars(config.settings), "class_weight": config.class_weights(), "verbose": False, **options}
    return jaxfc.fit(net, rule, data, task=task, hyper=hyper, **run)


def curves(found):
    """The validation score of each trial after each epoch."""
    return np.stack([trial.curve for trial in found.trials])
