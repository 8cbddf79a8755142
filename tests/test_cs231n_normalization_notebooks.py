"""What the assignment's notebook on batch and layer normalization does, in order, on the face alone."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import os
import re
import time

import jax
import numpy as np
import pytest
from side_by_side import images, input_dim, relative_error, train_both

from jaxfc.cs231n.classifiers.fc_net import (
    FullyConnectedNet,
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)
from jaxfc.cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from jaxfc.cs231n.solver import Solver


@pytest.fixture(autouse=True)
def leaves_jax_in_32_bits():
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64


@pytest.fixture(scope="module")
def data():
    return images(1000, 200)


@pytest.fixture(scope="module")
def small_data(data):
    return {name: value[: 500 if "train" in name else 100] for name, value in data.items()}


def activations(rows, last=3):
    """Scores of a random two-layer network, far from mean 0 and standard deviation 1."""
    x, w1, w2 = np.random.randn(rows, 50), np.random.randn(50, 60), np.random.randn(60, last)
    return np.maximum(0, x @ w1) @ w2, w1, w2


# ---------------------------------------------------------------------------------------------------
# The layers
# ---------------------------------------------------------------------------------------------------


def test_batchnorm_gives_each_feature_the_mean_beta_and_the_deviation_gamma():
    np.random.seed(231)
    a, *_ = activations(200)
    assert np.abs(a.mean(axis=0)).max() > 1
    assert a.std(axis=0).min() > 10
    for gamma, beta in (([1, 1, 1], [0, 0, 0]), ([1.0, 2.0, 3.0], [11.0, 12.0, 13.0])):
        gamma, beta = np.asarray(gamma), np.asarray(beta)  # the first pair holds integers
        out, _ = batchnorm_forward(a, gamma, beta, {"mode": "train"})
        np.testing.assert_allclose(out.mean(axis=0), beta, atol=1e-12)
        np.testing.assert_allclose(out.std(axis=0), gamma, rtol=1e-6)


def test_batchnorm_in_test_mode_comes_close_after_many_batches():
    np.random.seed(231)
    bn_param, gamma, beta = {"mode": "train"}, np.ones(3), np.zeros(3)
    _, w1, w2 = activations(200)
    for _ in range(50):
        batchnorm_forward(np.maximum(0, np.random.randn(200, 50) @ w1) @ w2, gamma, beta, bn_param)
    assert bn_param["running_mean"].shape == bn_param["running_var"].shape == (3,)
    bn_param["mode"] = "test"
    out, _ = batchnorm_forward(np.maximum(0, np.random.randn(200, 50) @ w1) @ w2, gamma, beta, bn_param)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=0.2)


@pytest.mark.parametrize("mode", [0, 1, None, "Train"])
def test_batchnorm_knows_two_modes(mode):
    with pytest.raises(ValueError, match=rf'^Invalid forward batchnorm mode "{mode}"$'):
        batchnorm_forward(np.ones((2, 3)), np.ones(3), np.zeros(3), {"mode": mode})


@pytest.mark.parametrize("layer", ["batchnorm", "batchnorm_alt", "layernorm"])
def test_backward_passes_agree_with_differences(layer):
    np.random.seed(231)
    x, dout = 5 * np.random.randn(4, 5) + 12, np.random.randn(4, 5)
    gamma, beta = np.random.randn(5), np.random.randn(5)
    forward, param = (layernorm_forward, {}) if layer == "layernorm" else (batchnorm_forward, {"mode": "train"})
    backward = {"batchnorm": batchnorm_backward, "batchnorm_alt": batchnorm_backward_alt}.get(layer, layernorm_backward)
    _, cache = forward(x, gamma, beta, param)
    gradients = backward(dout, cache)
    numerical = (
        eval_numerical_gradient_array(lambda x: forward(x, gamma, beta, param)[0], x, dout),
        eval_numerical_gradient_array(lambda a: forward(x, a, beta, param)[0], gamma, dout),
        eval_numerical_gradient_array(lambda b: forward(x, gamma, b, param)[0], beta, dout),
    )
    for gradient, expected in zip(gradients, numerical, strict=True):
        assert relative_error(gradient, expected) < 1e-7


def test_both_batchnorm_backward_functions_agree():
    np.random.seed(231)
    x, dout = 5 * np.random.randn(100, 500) + 12, np.random.randn(100, 500)
    _, cache = batchnorm_forward(x, np.random.randn(500), np.random.randn(500), {"mode": "train"})
    start = time.time()
    first = batchnorm_backward(dout, cache)
    between = time.time()
    second = batchnorm_backward_alt(dout, cache)
    assert time.time() > between > start  # the notebook divides one by the other
    for gradient, other in zip(first, second, strict=True):
        assert relative_error(gradient, other) < 1e-11  # the notebook shows 1e-12: two sums of the same terms


def test_layernorm_gives_each_row_the_mean_beta_and_the_deviation_gamma():
    np.random.seed(231)
    a, *_ = activations(4)
    for gamma, beta in ((1, 0), (3.0, 5.0)):
        out, _ = layernorm_forward(a, np.full(3, gamma), np.full(3, beta), {})
        np.testing.assert_allclose(out.mean(axis=1), beta, atol=1e-12)
        np.testing.assert_allclose(out.std(axis=1), gamma, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm"])
def test_gradients_of_a_normalized_network(normalization):
    initial_losses = {
        "batchnorm": (2.2611955101340957, 6.996533220108303),
        "layernorm": (2.237831004146712, 7.10213782725159),
    }
    np.random.seed(231)
    x, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
    for reg, initial_loss in zip((0, 3.14), initial_losses[normalization], strict=True):
        model = FullyConnectedNet(
            [20, 30], 15, 10, reg=reg, weight_scale=5e-2, dtype=np.float64, normalization=normalization
        )
        loss, grads = model.loss(x, y)
        assert loss == pytest.approx(initial_loss, rel=1e-12)  # plain NumPy's
        f = lambda _, model=model: model.loss(x, y)[0]  # noqa: E731
        for name in sorted(grads):
            numerical = eval_numerical_gradient(f, model.params[name], verbose=False)
            if normalization == "batchnorm" and name in ("b1", "b2"):
                # What the mean takes away again has no gradient; what is left is rounding.
                np.testing.assert_allclose([grads[name], numerical], 0, atol=1e-8)
            else:
                # With two rows, the loss is so curved in W1 that differences are good to 1.1e-4 only.
                assert relative_error(numerical, grads[name]) < (2e-4 if name == "W1" else 1e-5), name


@pytest.fixture(scope="module")
def deep_nets(data):
    """Five hidden layers trained by the face and by plain NumPy, with each normalization and without; their output."""

    def train(normalization):
        net = {"weight_scale": 2e-2, "normalization": normalization, "dtype": np.float64}
        settings = {"num_epochs": 10, "batch_size": 50, "update_rule": "adam", "optim_config": {"learning_rate": 1e-3}}
        return train_both(231, data, [100] * 5, net, verbose=True, print_every=20, **settings)

    return {normalization: train(normalization) for normalization in (None, "batchnorm", "layernorm")}


@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_deep_nets_train_with_numpys_numbers(deep_nets, normalization):
    """In float64, to the end: in float32, NumPy's own trace leaves its float64 one within 20 iterations."""
    mine, theirs = deep_nets[normalization]
    np.testing.assert_allclose(mine.loss_history, theirs.loss_history, rtol=1e-6)
    assert len(mine.loss_history) == 200
    assert mine.train_acc_history == theirs.train_acc_history
    assert mine.val_acc_history == theirs.val_acc_history


def test_deep_nets_learn_faster_with_normalization(deep_nets):
    learned = {name: np.mean(mine.train_acc_history) for name, (mine, _) in deep_nets.items()}
    assert learned["batchnorm"] > learned[None] + 0.08
    assert learned["layernorm"] > learned[None] + 0.05


def test_a_training_prints_what_the_notebook_shows(data, capsys):
    model = FullyConnectedNet([10], input_dim(data), normalization="batchnorm")
    Solver(
        model, data, num_epochs=10, batch_size=50, update_rule="adam",
        optim_config={"learning_rate": 1e-3}, verbose=True, print_every=20,
    ).train()  # fmt: skip
    lines = [re.sub(r"\d\.\d{6}", "#", line) for line in capsys.readouterr().out.splitlines()]
    expected = ["(Iteration 1 / 200) loss: #", "(Epoch 0 / 10) train acc: #; val_acc: #"]
    for epoch in range(1, 11):
        expected.append(f"(Epoch {epoch} / 10) train acc: #; val_acc: #")
        expected.append(f"(Iteration {20 * epoch + 1} / 200) loss: #")
    assert lines == expected[:-1]


@pytest.fixture(scope="module")
def weight_scales():
    return np.logspace(-4, 0, num=10)  # half as many as the notebook's


def test_batchnorm_bears_initial_weights_of_any_scale(small_data, weight_scales, compilations):
    best_train_accs, final_train_loss = {}, {}
    for normalization in ("batchnorm", None):
        solvers = {}
        for i, weight_scale in enumerate(weight_scales):
            np.random.seed(231)
            model = FullyConnectedNet(
                [50] * 7, input_dim(small_data), weight_scale=weight_scale, normalization=normalization
            )
            solvers[weight_scale] = Solver(
                model, small_data, num_epochs=10, batch_size=50, update_rule="adam",
                optim_config={"learning_rate": 1e-3}, verbose=False, print_every=200,
            )  # fmt: skip
            solvers[weight_scale].train()
            if i == 0:
                compilations.clear()
        assert not compilations, "one program serves all scales"
        best_train_accs[normalization] = np.array([max(s.train_acc_history) for s in solvers.values()])
        final_train_loss[normalization] = np.array([np.mean(s.loss_history[-50:]) for s in solvers.values()])

    # Without it, the smallest scales learn nothing, and the largest explode.
    np.testing.assert_allclose(final_train_loss[None][:2], np.log(10), atol=0.03)
    assert (best_train_accs["batchnorm"][:2] > best_train_accs[None][:2] + 0.08).all()
    assert final_train_loss["batchnorm"][:2].max() < 2.2
    assert final_train_loss[None][-2:].min() > 100
    assert final_train_loss["batchnorm"][-2:].max() < 10


@pytest.mark.parametrize("normalization", ["batchnorm", "layernorm"])
def test_batches_of_several_sizes(small_data, normalization):
    best = {}
    for batch_size in (5, 10, 50):
        np.random.seed(231)
        model = FullyConnectedNet([100] * 5, input_dim(small_data), weight_scale=2e-2, normalization=normalization)
        solver = Solver(
            model, small_data, num_epochs=5, batch_size=batch_size, update_rule="adam",
            optim_config={"learning_rate": 10**-3.5}, verbose=False,
        )  # fmt: skip
        solver.train()
        assert len(solver.loss_history) == 5 * 500 // batch_size
        assert len(solver.train_acc_history) == len(solver.val_acc_history) == 6
        assert np.mean(solver.loss_history[-5:]) < np.mean(solver.loss_history[:5])
        best[batch_size] = max(solver.train_acc_history)
    assert min(best.values()) > 0.2
    if normalization == "batchnorm" and "JAXFC_DATA" in os.environ:
        assert best[5] + 0.1 < best[50]  # statistics of five images are noise
