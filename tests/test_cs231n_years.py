"""Notebooks of other years on the face: what 2016 to 2020 called batch normalization and dropout, and their cells."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import pickle
import warnings

import numpy as np
import pytest

from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet, batchnorm_backward, batchnorm_backward_alt
from jaxfc.cs231n.layers import batchnorm_forward
from jaxfc.cs231n.solver import Solver


def rel_error(x, y):
    """As every year's notebook has it."""
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


def make(*args, seed=3, **kwargs):
    np.random.seed(seed)
    return FullyConnectedNet([5, 4], 6, 3, *args, weight_scale=0.5, dtype=np.float64, **kwargs)


ROWS = np.random.default_rng(0).normal(size=(8, 6)), np.arange(8) % 3


def assert_same(mine, today):
    """The same parameters, the same loss of the same draws, the same scores."""
    assert mine.params.keys() == today.params.keys()
    losses = []
    for model in (mine, today):
        np.random.seed(1)
        losses.append(model.loss(*ROWS)[0])
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(mine.loss(ROWS[0]), today.loss(ROWS[0]))
    assert mine.use_dropout == today.use_dropout
    assert mine.dropout_param == pytest.approx(today.dropout_param)
    assert mine.use_batchnorm == (today.normalization == "batchnorm")


@pytest.mark.parametrize(
    ("given", "today"),
    [
        # 2016 and 2017: dropout is the probability to drop, 0 for none
        ({"use_batchnorm": False}, {}),
        ({"use_batchnorm": True}, {"normalization": "batchnorm"}),
        ({"dropout": 0, "use_batchnorm": False}, {}),
        ({"dropout": 0.75, "use_batchnorm": False}, {"dropout_keep_ratio": 0.25}),
        ({"dropout": 0.25, "use_batchnorm": True}, {"dropout_keep_ratio": 0.75, "normalization": "batchnorm"}),
        # 2018 to 2020: the probability to keep, 1 for none
        ({"dropout": 1, "normalization": None}, {}),
        ({"dropout": 1, "normalization": "layernorm"}, {"normalization": "layernorm"}),
        ({"dropout": 0.25, "normalization": "layernorm"}, {"dropout_keep_ratio": 0.25, "normalization": "layernorm"}),
        ({"dropout": 0.25, "normalization": "batchnorm"}, {"dropout_keep_ratio": 0.25, "normalization": "batchnorm"}),
        # either
        ({"dropout": 0}, {}),
        ({"dropout": 1}, {}),
        # both names of one thing
        ({"use_batchnorm": True, "normalization": "batchnorm"}, {"normalization": "batchnorm"}),
        ({"use_batchnorm": False, "normalization": "layernorm"}, {"normalization": "layernorm"}),
    ],
    ids=str,
)
def test_each_years_arguments_mean_what_they_meant(given, today):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine = make(**given)
    assert_same(mine, make(**today))


@pytest.mark.parametrize(
    ("given", "today"),
    [
        ((0, False), (1, None)),
        ((0, True), (1, "batchnorm")),
        ((0.75, False), (0.25, None)),
        ((0.25, np.True_), (0.75, "batchnorm")),
        ((0.25, "layernorm"), (0.25, "layernorm")),  # 2018's
    ],
    ids=str,
)
def test_arguments_by_place(given, today):
    assert_same(make(*given), make(*today))


def test_a_dropout_that_may_mean_either_is_kept_and_says_so():
    with pytest.warns(UserWarning, match=r"keep, as .* from 2018 on.*use_batchnorm=False.*dropout_keep_ratio=0.75"):
        mine = make(dropout=0.25)
    assert_same(mine, make(0.25))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"use_batchnorm": True, "normalization": "layernorm"}, "use_batchnorm=True and normalization='layernorm'"),
        ({"dropout": 0.5, "dropout_keep_ratio": 0.5}, "dropout=0.5 and dropout_keep_ratio=0.5"),
        ({"dropout": 1, "use_batchnorm": False}, "dropout=0 is none"),
        ({"dropout": 1.5}, r"dropout=1.5 must be in \[0, 1\]"),
        ({"dropout": -0.5, "use_batchnorm": True}, r"dropout=-0.5 must be in \[0, 1\]"),
    ],
    ids=str,
)
def test_contradictions_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make(**given)


def test_without_labels_a_model_is_in_test_mode_and_keeps_no_statistics():
    model = make(dropout=0.5, use_batchnorm=True)
    x, y = ROWS
    np.random.seed(1)
    first, _ = model.loss(x, y)
    second, grads = model.loss(x, y)
    assert first != second  # another mask
    assert grads.keys() == model.params.keys()
    means = [p["running_mean"].copy() for p in model.bn_params]
    scores = model.loss(x)
    np.testing.assert_array_equal(model.loss(x), scores)
    np.testing.assert_allclose(model.loss(x[:3]), scores[:3], rtol=1e-12)  # no row sees another
    assert {p["mode"] for p in (*model.bn_params, model.dropout_param)} == {"test"}
    for p, mean in zip(model.bn_params, means, strict=True):
        np.testing.assert_array_equal(p["running_mean"], mean)


def test_the_dropout_notebook_of_2016(tmp_path, monkeypatch, capsys):
    """Two networks, one without dropout and one that drops three quarters; a pickle for each epoch, as asked for."""
    monkeypatch.chdir(tmp_path)
    np.random.seed(231)
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=90)
    X = rng.normal(size=(90, 3, 2, 2)) + np.eye(3)[y][:, :, None, None]
    small_data = {"X_train": X[:60], "y_train": y[:60], "X_val": X[60:], "y_val": y[60:]}
    solvers = {}
    for dropout in [0, 0.75]:
        model = FullyConnectedNet([20], 12, 3, dropout=dropout, use_batchnorm=False)
        solver = Solver(
            model, small_data, num_epochs=3, batch_size=20, update_rule="adam",
            optim_config={"learning_rate": 5e-3}, verbose=True, print_every=100, checkpoint_name=f"drop{dropout}",
        )  # fmt: skip
        solver.train()
        solvers[dropout] = solver
    assert [s.model.use_dropout for s in solvers.values()] == [False, True]
    assert solvers[0.75].model.dropout_param["p"] == 0.25
    names = [f"drop{dropout}_epoch_{epoch}.pkl" for dropout in (0, 0.75) for epoch in range(4)]
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "Saving" in line] == [f'Saving checkpoint to "{name}"' for name in names]
    for dropout, solver in solvers.items():
        checkpoints = [pickle.loads((tmp_path / f"drop{dropout}_epoch_{epoch}.pkl").read_bytes()) for epoch in range(4)]
        assert [len(c["loss_history"]) for c in checkpoints] == [1, 3, 6, 9]
        for epoch, checkpoint in enumerate(checkpoints):
            right = checkpoint["model"].loss(X[60:]).argmax(axis=1) == y[60:]
            assert right.mean() == solver.val_acc_history[epoch]  # its parameters are that epoch's
        assert solver.check_accuracy(X[60:], y[60:]) == solver.best_val_acc
        np.random.seed(4)
        rows = np.random.choice(60, 13)
        expected = np.mean(solver.model.loss(X[:60])[rows].argmax(axis=1) == y[rows])
        np.random.seed(4)
        assert solver.check_accuracy(X[:60], y[:60], num_samples=13) == expected


def test_both_batchnorm_backward_functions_agree_in_either_mode():
    np.random.seed(231)
    x, dout = 5 * np.random.randn(100, 50) + 12, np.random.randn(100, 50)
    gamma, beta = np.random.randn(50), np.random.randn(50)
    bn_param = {"mode": "train", "eps": 1e-3}
    for mode in ("train", "test"):
        _, cache = batchnorm_forward(x, gamma, beta, bn_param | {"mode": mode, "running_var": np.ones(50)})
        for one, other in zip(batchnorm_backward(dout, cache), batchnorm_backward_alt(dout, cache), strict=True):
            assert rel_error(one, other) < 1e-10
    assert batchnorm_backward is not batchnorm_backward_alt
