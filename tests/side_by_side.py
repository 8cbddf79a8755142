"""What the tests of the assignment's notebooks share: images, and trainings beside the NumPy reference."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import os

import numpy as np
import numpy_reference as reference

import jaxfc
from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet
from jaxfc.cs231n.data_utils import get_CIFAR10_data
from jaxfc.cs231n.solver import Solver


def images(num_train, num_val):
    """CIFAR-10 where it is at hand; otherwise digits, as bytes, their mean image subtracted likewise."""
    if "JAXFC_DATA" in os.environ:
        data = get_CIFAR10_data(num_training=num_train, num_validation=num_val, num_test=1)
        return {name: value for name, value in data.items() if "test" not in name}
    digits = jaxfc.load("digits")
    mean = digits.x_train[:num_train].mean(axis=0)
    parts = {"train": (digits.x_train, digits.y_train, num_train), "val": (digits.x_val, digits.y_val, num_val)}
    data = {f"X_{name}": 16 * (x[:count] - mean).reshape(-1, 1, 8, 8) for name, (x, _, count) in parts.items()}
    return data | {f"y_{name}": y[:count].astype(np.int64) for name, (_, y, count) in parts.items()}


def relative_error(x, y):
    """The assignment's: the largest `|x - y| / (|x| + |y|)`."""
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


def input_dim(data):
    return data["X_train"][0].size


def train_both(seed, data, hidden_dims, net, **kwargs):
    """Train the face's and the reference's network from the same state of the random stream."""
    solvers, draws = [], []
    for net_class, solver_class in ((FullyConnectedNet, Solver), (reference.FullyConnectedNet, reference.Solver)):
        np.random.seed(seed)
        solvers.append(solver_class(net_class(hidden_dims, input_dim(data), **net), data, **kwargs))
        solvers[-1].train()
        draws.append(np.random.rand())
    assert draws[0] == draws[1]
    return solvers


def assert_float32_traces_agree(mine, theirs):
    np.testing.assert_allclose(mine.loss_history[0], theirs.loss_history[0], rtol=1e-5)
    np.testing.assert_allclose(mine.loss_history[:20], theirs.loss_history[:20], rtol=1e-3)
    np.testing.assert_allclose(mine.train_acc_history, theirs.train_acc_history, atol=0.03)
    np.testing.assert_allclose(mine.val_acc_history, theirs.val_acc_history, atol=0.03)
