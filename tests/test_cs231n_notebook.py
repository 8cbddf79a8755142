"""The assignment's notebook: what its cells print on CIFAR-10, and on what plain NumPy agrees."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import os
import re

import jax
import numpy as np
import pytest
from side_by_side import assert_float32_traces_agree, train_both

from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet
from jaxfc.cs231n.data_utils import get_CIFAR10_data
from jaxfc.cs231n.solver import Solver

pytestmark = pytest.mark.skipif(
    "JAXFC_DATA" not in os.environ, reason="needs CIFAR-10: set JAXFC_DATA to the folder that holds cifar-10-batches-py"
)

EPOCH = re.compile(r"\(Epoch (\d+) / 20\) train acc: (\d\.\d{6}); val_acc: (\d\.\d{6})")


def few(data, num_train, num_val=1000):
    return {name: data[name][: num_train if "train" in name else num_val] for name in data if "test" not in name}


def train_accuracies(lines):
    """The training accuracy by epoch, from what was printed."""
    matches = [EPOCH.fullmatch(line) for line in lines if line.startswith("(Epoch")]
    return {int(match[1]): float(match[2]) for match in matches}


def test_cells_3_to_6(capsys):
    """In one process and in order: the random stream is seeded in cell 4 and runs on."""
    data = get_CIFAR10_data()
    assert {name: value.shape for name, value in data.items()} == {
        "X_train": (49000, 3, 32, 32),
        "y_train": (49000,),
        "X_val": (1000, 3, 32, 32),
        "y_val": (1000,),
        "X_test": (1000, 3, 32, 32),
        "y_test": (1000,),
    }
    assert abs(data["X_train"].mean()) < 1e-6
    small_data = few(data, 50)
    small_data = {name: value.copy() for name, value in small_data.items()}
    del data

    np.random.seed(231)
    x, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
    for reg, expected in ((0, 2.3004790897684924), (3.14, 7.052114776533016)):
        model = FullyConnectedNet([20, 30], input_dim=15, num_classes=10, reg=reg, weight_scale=5e-2, dtype=np.float64)
        assert model.loss(x, y)[0] == pytest.approx(expected, rel=1e-12)  # its gradients: see test_cs231n_solver.py

    cells = (
        ([100, 100], 4e-2, 3e-3, 22.942158, {0: 0.2, 1: 0.4, 2: 0.56, 4: 0.9, 11: 1.0, 20: 1.0}),
        ([100, 100, 100, 100], 7e-2, 5e-3, 28.032018, {0: 0.12, 1: 0.32, 20: 1.0}),
    )
    for hidden_dims, weight_scale, learning_rate, first_loss, accuracies in cells:
        model = FullyConnectedNet(hidden_dims, weight_scale=weight_scale, dtype=np.float64)
        config = {"learning_rate": learning_rate}
        solver = Solver(
            model, small_data, print_every=10, num_epochs=20, batch_size=25, update_rule="sgd", optim_config=config
        )
        capsys.readouterr()
        solver.train()
        lines = capsys.readouterr().out.splitlines()
        assert re.fullmatch(r"\(Iteration 1 / 40\) loss: \d+\.\d{6}", lines[0])
        assert len(lines) == 4 + 21
        assert float(lines[0].split()[-1]) == pytest.approx(first_loss, rel=1e-3)
        assert float(lines[0].split()[-1]) == pytest.approx(solver.loss_history[0], abs=1e-6)
        printed = train_accuracies(lines)
        assert {epoch: printed[epoch] for epoch in accuracies} == pytest.approx(accuracies, abs=0.04)
        assert printed[20] == 1
    assert not jax.config.jax_enable_x64


@pytest.fixture(scope="module")
def data():
    """4,000 training images, and 500 to validate on."""
    return get_CIFAR10_data(num_training=4000, num_validation=500, num_test=1)


@pytest.mark.parametrize(
    ("rule", "learning_rate"), [("sgd", 5e-3), ("sgd_momentum", 5e-3), ("adam", 1e-3), ("rmsprop", 1e-4)]
)
def test_cells_8_and_11_run_with_numpys_numbers(data, rule, learning_rate, capsys):
    config = {"learning_rate": learning_rate}
    kwargs = {"num_epochs": 1, "batch_size": 100, "update_rule": rule, "optim_config": config, "verbose": True}
    mine, theirs = train_both(231, few(data, 4000, 500), [100] * 5, {"weight_scale": 5e-2}, **kwargs)
    assert_float32_traces_agree(mine, theirs)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * (4 + 2)
    shapes = [re.sub(r"\d\.\d{6}", "#", line) for line in lines]
    assert shapes[:6] == shapes[6:]
    assert mine.loss_history[-1] < mine.loss_history[0]


def test_cell_18_in_small_runs_with_numpys_numbers(data):
    """Batch normalization, dropout, decay and drawn hyper-parameters, as in the notebook."""
    np.random.seed(231)
    lr, ws = 10 ** np.random.uniform(-3, -2), 10 ** np.random.uniform(-2, -1)
    reg, kr = 10 ** np.random.uniform(-5, -3), np.random.uniform(0.3, 0.5)
    seed = np.random.randint(1000)
    net = {"weight_scale": ws, "reg": reg, "dropout_keep_ratio": kr, "normalization": "batchnorm"}
    kwargs = {"num_epochs": 3, "batch_size": 64, "update_rule": "adam", "optim_config": {"learning_rate": lr}}
    small = few(data, 200, 100)
    mine, theirs = train_both(seed, small, [64, 32], net, **kwargs, lr_decay=0.8, verbose=False)
    assert_float32_traces_agree(mine, theirs)
    images, labels = small["X_val"], small["y_val"]
    accuracy = (np.argmax(mine.model.loss(images), axis=1) == labels).mean()
    assert accuracy == pytest.approx((np.argmax(theirs.model.loss(images), axis=1) == labels).mean(), abs=0.03)
