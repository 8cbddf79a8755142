"""The oracle itself: against central differences, the assignment's printed losses, and its own Solver."""

import numpy as np
import pytest
from numpy_reference import RULES, FullyConnectedNet, Solver, svm_loss


def numerical_gradient(f, x, h=1e-5):
    grad = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + h
        above = f()
        x[index] = value - h
        below = f()
        x[index] = value
        grad[index] = (above - below) / (2 * h)
    return grad


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
@pytest.mark.parametrize("keep_ratio", [1, 0.7])
def test_gradient_matches_central_differences(normalization, keep_ratio):
    np.random.seed(0)  # noqa: NPY002
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 2, 4)), rng.integers(3, size=6)
    net = FullyConnectedNet(
        [7, 5], 8, 3, keep_ratio, normalization, reg=0.3, weight_scale=0.5, dtype=np.float64, seed=2
    )
    for name, value in net.params.items():
        if name[0] != "W":  # away from 0 and 1, where a wrong formula may look right
            value += rng.normal(size=value.shape) * 0.3
    _, grads = net.loss(x, y)
    assert grads.keys() == net.params.keys()
    for name, value in net.params.items():
        expected = numerical_gradient(lambda: net.loss(x, y)[0], value)
        np.testing.assert_allclose(grads[name], expected, rtol=1e-5, atol=1e-8, err_msg=name)


def test_svm_gradient_matches_central_differences():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)), rng.integers(4, size=5)
    np.testing.assert_allclose(svm_loss(x, y)[1], numerical_gradient(lambda: svm_loss(x, y)[0], x), atol=1e-8)


def test_initial_losses_are_those_the_assignment_prints():
    np.random.seed(231)  # noqa: NPY002
    x, y = np.random.randn(2, 15), np.random.randint(10, size=2)  # noqa: NPY002
    for reg, expected in ((0, 2.3004790897684924), (3.14, 7.052114776533016)):
        net = FullyConnectedNet([20, 30], 15, 10, reg=reg, weight_scale=5e-2, dtype=np.float64)
        np.testing.assert_allclose(net.loss(x, y)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_solver_trains_and_keeps_the_best_parameters(rule, capsys):
    np.random.seed(0)  # noqa: NPY002
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)).astype(np.float32)
    y = x[:, :3].argmax(axis=1)
    data = {"X_train": x[:80], "y_train": y[:80], "X_val": x[80:], "y_val": y[80:]}
    net = FullyConnectedNet([16], 6, 3, 0.9, "layernorm", weight_scale=0.3)
    rate = {"sgd": 0.3, "sgd_momentum": 0.1}.get(rule, 1e-2)
    solver = Solver(net, data, update_rule=rule, optim_config={"learning_rate": rate}, batch_size=20, num_epochs=10)
    solver.train()
    assert len(solver.loss_history) == 40
    assert len(solver.val_acc_history) == 11
    assert solver.check_accuracy(x[80:], y[80:]) == solver.best_val_acc == max(solver.val_acc_history) > 0.7
    assert all(value.dtype == np.float32 for value in net.params.values())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("(Iteration 1 / 40) loss: ")
    assert lines[1].startswith("(Epoch 0 / 10) train acc: ")


def test_solver_refuses_what_it_does_not_know():
    data = dict.fromkeys(("X_train", "y_train", "X_val", "y_val"), np.zeros((1, 1)))
    net = FullyConnectedNet([2], 1, 2)
    with pytest.raises(ValueError, match='Unrecognized arguments "a", "b"'):
        Solver(net, data, a=1, b=2)
    with pytest.raises(ValueError, match='Invalid update_rule "sdg"'):
        Solver(net, data, update_rule="sdg")
