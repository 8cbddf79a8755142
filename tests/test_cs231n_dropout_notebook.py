"""What the assignment's notebook on dropout does, in order, on the face alone."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import jax
import numpy as np
import pytest
from side_by_side import assert_float32_traces_agree, images, input_dim, relative_error, train_both

from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet, dropout_backward, dropout_forward
from jaxfc.cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from jaxfc.cs231n.solver import Solver


@pytest.fixture(autouse=True)
def leaves_jax_in_32_bits():
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("p", [0.25, 0.4, 0.7])
def test_dropout_drops_a_share_and_keeps_the_mean(p):
    np.random.seed(231)
    x = np.random.randn(500, 500) + 10
    out, _ = dropout_forward(x, {"mode": "train", "p": p})
    assert (out == 0).mean() == pytest.approx(1 - p, abs=5e-3)
    assert out.mean() == pytest.approx(x.mean(), abs=0.1)
    np.testing.assert_allclose(out[out != 0], (x / p)[out != 0], rtol=1e-12)
    test, _ = dropout_forward(x, {"mode": "test", "p": p})
    np.testing.assert_array_equal(test, x)


def test_dropout_that_keeps_all_changes_nothing():
    x = np.random.default_rng(0).normal(size=(4, 3))
    out, cache = dropout_forward(x, {"mode": "train", "p": 1})
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(dropout_backward(x, cache), x)


def test_dropout_backward_agrees_with_differences():
    np.random.seed(231)
    x, dout = np.random.randn(10, 10) + 10, np.random.randn(10, 10)
    dropout_param = {"mode": "train", "p": 0.2, "seed": 123}
    _, cache = dropout_forward(x, dropout_param)
    dx = dropout_backward(dout, cache)
    numerical = eval_numerical_gradient_array(lambda x: dropout_forward(x, dropout_param)[0], x, dout)
    assert relative_error(dx, numerical) < 1e-10
    assert 0.6 < (dx == 0).mean() < 0.95


@pytest.mark.filterwarnings("ignore:dropout=")  # which of its meanings is taken
@pytest.mark.parametrize("keyword", ["dropout_keep_ratio", "dropout"])
@pytest.mark.parametrize("keep_ratio", [1, 0.75, 0.5])
def test_gradients_of_a_network_with_dropout(keep_ratio, keyword):
    np.random.seed(231)
    x, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
    model = FullyConnectedNet(
        [20, 30], input_dim=15, num_classes=10, weight_scale=5e-2, dtype=np.float64, seed=123, **{keyword: keep_ratio}
    )
    loss, grads = model.loss(x, y)
    assert loss == pytest.approx(2.3, abs=0.02)
    f = lambda _: model.loss(x, y)[0]  # noqa: E731
    for name in sorted(grads):
        numerical = eval_numerical_gradient(f, model.params[name], verbose=False)
        assert relative_error(numerical, grads[name]) < (1e-4 if name[0] == "W" else 1e-6), name


@pytest.fixture(scope="module")
def data():
    return images(500, 200)


SETTINGS = {"batch_size": 100, "update_rule": "adam", "optim_config": {"learning_rate": 5e-4}}


def test_dropout_regularizes(data):
    solvers = {}
    for keep_ratio in (1, 0.25):
        np.random.seed(231)
        model = FullyConnectedNet([500], input_dim(data), dropout_keep_ratio=keep_ratio)
        solver = Solver(model, data, num_epochs=25, verbose=False, print_every=100, **SETTINGS)
        solver.train()
        assert len(solver.loss_history) == 125
        assert len(solver.train_acc_history) == len(solver.val_acc_history) == 26
        solvers[keep_ratio] = solver
    assert solvers[1].train_acc_history[-1] > 0.95  # fitted to the last image
    gap = {ratio: np.mean(s.train_acc_history) - np.mean(s.val_acc_history) for ratio, s in solvers.items()}
    assert gap[0.25] < gap[1]


@pytest.mark.parametrize("keep_ratio", [1, 0.25])
def test_training_with_dropout_has_numpys_numbers(data, keep_ratio):
    net = {"dropout_keep_ratio": keep_ratio}
    assert_float32_traces_agree(*train_both(231, data, [500], net, num_epochs=4, verbose=False, **SETTINGS))
