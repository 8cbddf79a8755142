"""The assignment's models and its Solver at the NumPy face, against plain NumPy from the same seed."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import contextlib
import itertools
import pickle
import re

import jax
import numpy as np
import numpy_reference as reference
import pytest

from jaxfc.cs231n import layer_utils, layers, optim
from jaxfc.cs231n.bridge import ALIGNMENT, aligned
from jaxfc.cs231n.classifiers import fc_net
from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from jaxfc.cs231n.gradient_check import eval_numerical_gradient
from jaxfc.cs231n.solver import Solver

NORMALIZATIONS = [None, "batchnorm", "layernorm"]


@pytest.fixture(autouse=True)
def leaves_jax_in_32_bits():
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64


def both(start, *args, **kwargs):
    """The face's network and the reference's, of the same draws."""
    nets = []
    for make in (FullyConnectedNet, reference.FullyConnectedNet):
        np.random.seed(start)
        nets.append(make(*args, **kwargs))
    return nets


def assert_same_dicts(got, expected, **tolerance):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, err_msg=name, **tolerance)


# ---------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------


def test_the_assignments_initial_losses_and_gradients():
    np.random.seed(231)
    x, y = np.random.randn(2, 15), np.random.randint(10, size=(2,))
    limits = {"W1": 1e-6, "W2": 1e-4, "W3": 1e-5, "b1": 1e-7, "b2": 1e-7, "b3": 1e-8}
    for reg, expected in ((0, 2.3004790897684924), (3.14, 7.052114776533016)):
        model = FullyConnectedNet([20, 30], 15, 10, reg=reg, weight_scale=5e-2, dtype=np.float64)
        loss, grads = model.loss(x, y)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        assert type(loss) is float
        for name, limit in limits.items():
            w, gradient = model.params[name], grads[name]
            some = list(np.ndindex(w.shape))[:: max(w.size // 12, 1)]  # all of them is 2 * 1,300 losses
            numerical = []
            for index in some:
                value = w[index]
                w[index] = value + 1e-5
                above = model.loss(x, y)[0]
                w[index] = value - 1e-5
                numerical.append((above - model.loss(x, y)[0]) / 2e-5)
                w[index] = value
            mine = np.array([gradient[index] for index in some])
            error = np.abs(mine - numerical) / np.maximum(1e-8, np.abs(mine) + np.abs(numerical))
            assert error.max() <= limit, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_parameters_are_drawn_as_the_assignment_draws_them(normalization, dtype):
    mine, theirs = both(3, [4, 5], 6, 3, normalization=normalization, weight_scale=0.1, dtype=dtype)
    then = np.random.rand()
    np.random.seed(3)
    FullyConnectedNet([4, 5], 6, 3, normalization=normalization)
    assert np.random.rand() == then
    assert list(mine.params) == list(theirs.params)
    for name, value in mine.params.items():
        np.testing.assert_array_equal(value, theirs.params[name])
        assert type(value) is np.ndarray
        assert value.dtype == dtype
        assert value.flags.writeable


def test_defaults_and_attributes():
    model = FullyConnectedNet([4, 5])
    assert model.params["W1"].shape == (3072, 4)
    assert model.params["W3"].shape == (5, 10)
    assert model.params["W1"].std() == pytest.approx(1e-2, rel=0.1)
    assert (model.normalization, model.use_dropout, model.reg, model.num_layers) == (None, False, 0.0, 3)
    assert (model.dtype, model.dropout_param, model.bn_params) == (np.float32, {}, [])
    model = FullyConnectedNet([4, 5], 6, 3, 0.8, "batchnorm", 0.1, 0.2, np.float64, 7)
    assert (model.normalization, model.use_dropout, model.reg, model.num_layers) == ("batchnorm", True, 0.1, 3)
    assert (model.dtype, model.dropout_param) == (np.float64, {"mode": "train", "p": 0.8, "seed": 7})
    assert model.bn_params == [{"mode": "train"}, {"mode": "train"}]
    assert FullyConnectedNet([4], 6, 3, normalization="layernorm").bn_params == [{}]
    assert FullyConnectedNet([4], 6, 3, 0.3).dropout_param == {"mode": "train", "p": 0.3}
    assert FullyConnectedNet([4], 6, 3, dropout=1).use_dropout is False
    with pytest.raises(ValueError, match="batchnorm"):
        FullyConnectedNet([4], 6, 3, normalization="batch")


@pytest.mark.parametrize("seed", [None, 11])
@pytest.mark.parametrize("keep_ratio", [1, 0.6])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_loss_and_scores_equal_numpys(normalization, keep_ratio, seed):
    rng = np.random.default_rng(0)
    kwargs = {"dropout_keep_ratio": keep_ratio, "normalization": normalization, "reg": 0.3, "seed": seed}
    mine, theirs = both(1, [7, 5], 12, 3, weight_scale=0.5, dtype=np.float64, **kwargs)
    for net in (mine, theirs):
        for name, value in net.params.items():
            if name[0] != "W":
                value += 0.3 * np.random.default_rng(len(name) + value.size).normal(size=value.shape)
    x_test = rng.normal(size=(5, 3, 4))
    for batch in range(3):
        x, y = rng.normal(1, 2, size=(6, 3, 4)), rng.integers(3, size=6)
        np.random.seed(batch)
        loss, grads = mine.loss(x, y)
        after = np.random.rand()
        np.random.seed(batch)
        expected, expected_grads = theirs.loss(x, y)
        assert after == np.random.rand()
        np.testing.assert_allclose(loss, expected, rtol=1e-9)
        assert grads.keys() == mine.params.keys()
        assert all(type(g) is np.ndarray and g.dtype == np.float64 and g.flags.writeable for g in grads.values())
        assert_same_dicts(grads, expected_grads, rtol=1e-9, atol=1e-12)
        if normalization == "batchnorm":
            assert [p["mode"] for p in mine.bn_params] == ["train", "train"]
        if keep_ratio != 1:
            assert mine.dropout_param["mode"] == "train"

        scores = mine.loss(x_test)
        assert scores.shape == (5, 3)
        assert scores.flags.writeable
        np.testing.assert_allclose(scores, theirs.loss(x_test), rtol=1e-9)
        for got, wanted in zip(mine.bn_params, theirs.bn_params, strict=True):
            assert got.pop("mode", None) == wanted.pop("mode", None)
            assert_same_dicts(got, wanted, rtol=1e-9)
        if keep_ratio != 1:
            assert mine.dropout_param == theirs.dropout_param
            assert mine.dropout_param["mode"] == "test"


def test_the_regularization_may_be_changed_later():
    x, y = np.ones((2, 4)), np.array([0, 1])
    model = FullyConnectedNet([3], 4, 2, weight_scale=1.0, dtype=np.float64)
    bare, _ = model.loss(x, y)
    model.reg = 0.5
    squares = sum(np.sum(model.params[name] ** 2) for name in ("W1", "W2"))
    np.testing.assert_allclose(model.loss(x, y)[0], bare + 0.25 * squares, rtol=1e-12)


def test_the_next_loss_sees_parameters_changed_in_place_or_replaced():
    x, y = np.random.default_rng(0).normal(size=(4, 6)), np.array([0, 1, 2, 0])
    mine, theirs = both(0, [5], 6, 3, weight_scale=0.5, dtype=np.float64)
    for net in (mine, theirs):
        net.params["W1"][2, 3] += 1
        net.params["b2"] -= [0.5, 0.0, 0.1]
    np.testing.assert_allclose(mine.loss(x, y)[0], theirs.loss(x, y)[0], rtol=1e-12)
    for net in (mine, theirs):
        net.params["W2"] = np.arange(15.0).reshape(5, 3) / 10
        net.params["b1"] = np.ones(5)
    np.testing.assert_allclose(mine.loss(x, y)[0], theirs.loss(x, y)[0], rtol=1e-12)
    np.testing.assert_allclose(mine.loss(x), theirs.loss(x), rtol=1e-12)
    numerical = eval_numerical_gradient(lambda _: mine.loss(x, y)[0], mine.params["W2"], verbose=False)
    np.testing.assert_allclose(mine.loss(x, y)[1]["W2"], numerical, rtol=1e-5, atol=1e-8)


def test_a_float32_model_takes_data_and_weights_of_float64():
    x, y = np.random.default_rng(0).normal(size=(4, 2, 3)), np.array([0, 1, 2, 0], np.uint8)
    mine, theirs = both(0, [5], 6, 3, weight_scale=0.5)
    loss, grads = mine.loss(x, y)
    expected, expected_grads = theirs.loss(x, y)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert {g.dtype.name for g in grads.values()} == {"float32"}
    assert_same_dicts(grads, expected_grads, rtol=1e-4, atol=1e-6)
    assert mine.loss(x).dtype == np.float32
    assert mine.loss((x * 20).astype(np.int8)).dtype == np.float32
    for net in (mine, theirs):
        net.params["W1"] = np.linspace(-1, 1, 30).reshape(6, 5)
    np.testing.assert_allclose(mine.loss(x, y)[0], theirs.loss(x, y)[0], rtol=1e-5)


def test_two_layer_net():
    np.random.seed(4)
    model = TwoLayerNet(6, 5, 3, weight_scale=0.5, reg=0.2)
    np.random.seed(4)
    peer = reference.FullyConnectedNet([5], 6, 3, reg=0.2, weight_scale=0.5, dtype=np.float64)
    assert list(model.params) == ["W1", "b1", "W2", "b2"]
    for name, value in model.params.items():
        np.testing.assert_array_equal(value, peer.params[name])
        assert value.dtype == np.float64
    x, y = np.random.randn(4, 2, 3), np.array([0, 1, 2, 0])
    (loss, grads), (expected, expected_grads) = model.loss(x, y), peer.loss(x, y)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    assert_same_dicts(grads, expected_grads, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.loss(x), peer.loss(x), rtol=1e-12)
    default = TwoLayerNet()
    assert [w.shape for w in default.params.values()] == [(3072, 100), (100,), (100, 10), (10,)]
    assert default.params["W1"].std() == pytest.approx(1e-3, rel=0.02)


def test_losses_refuse_what_does_not_fit():
    model = FullyConnectedNet([3], 4, 2)
    with pytest.raises(ValueError, match=r"X has shape \(2, 5\), 5 features; W1 has shape \(4, 3\)"):
        model.loss(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"y has shape \(3,\)"):
        model.loss(np.zeros((2, 4)), np.zeros(3, int))
    with pytest.raises(TypeError, match="integers"):
        model.loss(np.zeros((2, 4)), np.zeros(2))


@pytest.mark.parametrize("make", [FullyConnectedNet, TwoLayerNet])
def test_saving_and_loading(make, tmp_path):
    shape = ([4], 6, 3) if make is FullyConnectedNet else (6, 4, 3)
    model, other = make(*shape, weight_scale=0.5), make(*shape, weight_scale=0.5)
    x, path = np.random.default_rng(0).normal(size=(5, 6)), str(tmp_path / "model.pkl")
    before = other.loss(x)
    assert other.load(path) is False
    np.testing.assert_array_equal(other.loss(x), before)
    model.save(path)
    assert other.load(path) is True
    np.testing.assert_array_equal(other.loss(x), model.loss(x))
    assert all(w.flags.writeable and w.dtype == model.dtype for w in other.params.values())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_models_pickle(normalization):
    x, y = np.random.default_rng(0).normal(size=(5, 6)), np.array([0, 1, 2, 0, 1])
    model = FullyConnectedNet([4], 6, 3, 0.7, normalization, weight_scale=0.5, seed=2)
    model.loss(x, y)
    other = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(other.loss(x), model.loss(x))
    assert other.loss(x, y)[0] == model.loss(x, y)[0]


def test_a_star_import_gives_all_layers_and_models():
    names = {}
    exec("from jaxfc.cs231n.classifiers.fc_net import *", names)
    for name in (*layers.__all__, *layer_utils.__all__, "FullyConnectedNet", "TwoLayerNet"):
        module = next(m for m in (fc_net, layers, layer_utils) if name in m.__all__)
        assert names[name] is getattr(module, name)


# ---------------------------------------------------------------------------------------------------
# The Solver
# ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Small pictures of three classes: 60 to train on, 30 to validate on."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    x = rng.integers(-40, 41, size=(90, 3, 4, 4)) + 30.0 * np.eye(3)[y][:, :, None, None]
    return {"X_train": x[:60] / 64, "y_train": y[:60], "X_val": x[60:] / 64, "y_val": y[60:]}


RATES = {"sgd": 2e-2, "sgd_momentum": 5e-3, "rmsprop": 1e-3, "adam": 2e-3}
NUMBER = re.compile(r"-?\d+\.\d+")


def train_both(data, capsys, *, net=None, hidden=(6, 5), **kwargs):
    """Train the face's model and the reference's from the same seed; return solvers, output, next draws."""
    results = []
    rule = kwargs.setdefault("update_rule", "sgd")
    config = {"learning_rate": RATES[rule]} | kwargs.pop("optim_config", {})
    given = dict(config)
    for solver_class, net_class in ((Solver, FullyConnectedNet), (reference.Solver, reference.FullyConnectedNet)):
        np.random.seed(5)
        model = net_class(list(hidden), 48, 3, **({"weight_scale": 0.3, "dtype": np.float64} | (net or {})))
        solver = solver_class(model, data, **{"batch_size": 20, "num_epochs": 4, "optim_config": config} | kwargs)
        solver.train()
        results.append((solver, capsys.readouterr().out.splitlines(), np.random.rand()))
    assert config == given  # the caller's own dict is left alone
    return results


def assert_same_training(results, rtol=1e-6):
    (mine, lines, draw), (theirs, expected_lines, expected_draw) = results
    assert draw == expected_draw
    assert [NUMBER.sub("", line) for line in lines] == [NUMBER.sub("", line) for line in expected_lines]
    for line, expected in zip(lines, expected_lines, strict=True):
        numbers, wanted = (np.array(NUMBER.findall(text), float) for text in (line, expected))
        np.testing.assert_allclose(numbers, wanted, atol=2e-6)
    assert all(isinstance(loss, float) for loss in mine.loss_history)
    np.testing.assert_allclose(mine.loss_history, theirs.loss_history, rtol=rtol)
    assert mine.train_acc_history == theirs.train_acc_history
    assert mine.val_acc_history == theirs.val_acc_history
    assert mine.best_val_acc == theirs.best_val_acc
    assert mine.epoch == theirs.epoch
    # The exact gradient of a bias before batch normalization is 0: what either follows is its own rounding.
    noise = {f"b{i}" for i in range(1, mine.model.num_layers) if mine.model.normalization == "batchnorm"}
    for got, wanted in ((mine.best_params, theirs.best_params), (mine.model.params, theirs.model.params)):
        assert list(got) == list(wanted)
        assert_same_dicts(
            *({k: w for k, w in p.items() if k not in noise} for p in (got, wanted)), rtol=rtol, atol=1e-9
        )
    assert all(type(w) is np.ndarray and w.flags.writeable for w in mine.model.params.values())
    assert mine.optim_configs.keys() == theirs.optim_configs.keys()
    for name, config in theirs.optim_configs.items():
        if name in noise:
            continue
        assert_same_dicts(mine.optim_configs[name], config, rtol=rtol, atol=1e-9)
    for got, wanted in zip(mine.model.bn_params, theirs.model.bn_params, strict=True):
        assert got.pop("mode", None) == wanted.pop("mode", None)
        assert_same_dicts(got, wanted, rtol=rtol)
    assert mine.model.dropout_param == (theirs.model.dropout_param if mine.model.use_dropout else {})


@pytest.mark.parametrize("rule", RATES)
def test_training_equals_numpys_by_every_rule(data, capsys, rule):
    results = train_both(data, capsys, update_rule=rule, lr_decay=0.9, net={"reg": 0.01})
    assert_same_training(results)
    solver = results[0][0]
    assert solver.optim_configs["W1"]["learning_rate"] == pytest.approx(RATES[rule] * 0.9**4)
    assert solver.optim_configs["b2"].get("t", 12) == 12
    assert len(solver.loss_history) == 12
    assert len(solver.val_acc_history) == 5
    assert len(results[0][1]) == 2 + 5


@pytest.mark.parametrize("keep_ratio", [1, 0.7])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_training_equals_numpys_with_normalization_and_dropout(data, capsys, normalization, keep_ratio):
    net = {"normalization": normalization, "dropout_keep_ratio": keep_ratio}
    assert_same_training(train_both(data, capsys, net=net, update_rule="adam", num_epochs=3))


def test_training_equals_numpys_with_seeded_dropout(data, capsys):
    net = {"dropout_keep_ratio": 0.7, "seed": 9}
    assert_same_training(train_both(data, capsys, net=net, num_epochs=3))


@pytest.mark.parametrize(
    "settings",
    [
        {"verbose": False, "num_train_samples": None},
        {"print_every": 1, "num_train_samples": 7, "num_val_samples": 11},
        {"print_every": 5, "num_epochs": 3, "batch_size": 17},
        {"print_every": 100, "num_val_samples": 1000},
        {"batch_size": 200, "num_epochs": 3},
        {"num_epochs": 1},
        {"update_rule": "sgd_momentum", "optim_config": {"momentum": 0.5}},
        {"update_rule": "adam", "optim_config": {"beta1": 0.5, "beta2": 0.9, "epsilon": 1e-3}},
        {"update_rule": "rmsprop", "optim_config": {"decay_rate": 0.5, "epsilon": 1e-3}},
    ],
    ids=str,
)
def test_training_equals_numpys_with_other_settings(data, capsys, settings):
    results = train_both(data, capsys, **settings)
    assert_same_training(results)
    if settings.get("verbose") is False:
        assert not results[0][1]
    if settings.get("batch_size") == 200:
        assert len(results[0][0].loss_history) == 3


@pytest.mark.parametrize("config", [{}, None])
def test_rules_default_configuration(data, config):
    for rule in RATES:
        model = FullyConnectedNet([4], 48, 3)
        kwargs = {} if config is None else {"optim_config": config}
        solver = Solver(model, data, update_rule=rule, num_epochs=1, verbose=False, **kwargs)
        solver.train()
        assert solver.optim_configs["W1"]["learning_rate"] == (1e-3 if rule == "adam" else 1e-2)
    assert not config


@pytest.mark.parametrize("rule", RATES)
def test_float32_training_stays_with_numpys(data, capsys, rule):
    net = {"dtype": np.float32, "normalization": "batchnorm", "dropout_keep_ratio": 0.8}
    results = train_both(data, capsys, net=net, update_rule=rule, num_epochs=7, lr_decay=0.9)
    (mine, lines, draw), (theirs, expected_lines, expected_draw) = results
    assert draw == expected_draw
    assert [NUMBER.sub("", line) for line in lines] == [NUMBER.sub("", line) for line in expected_lines]
    np.testing.assert_allclose(mine.loss_history[0], theirs.loss_history[0], rtol=1e-5)
    np.testing.assert_allclose(mine.loss_history[:20], theirs.loss_history[:20], rtol=1e-3)
    np.testing.assert_allclose(mine.train_acc_history, theirs.train_acc_history, atol=0.03)
    np.testing.assert_allclose(mine.val_acc_history, theirs.val_acc_history, atol=0.034)  # one row of 30
    for name, w in mine.model.params.items():
        assert w.dtype == np.float32
        slots = [v for v in mine.optim_configs[name].values() if isinstance(v, np.ndarray)]
        assert {v.dtype.name for v in slots} <= {"float32"}
        assert {v.shape for v in slots} <= {w.shape}


def test_a_float32_model_trains_with_a_weight_of_float64(data, recwarn):
    """A notebook may set a parameter itself; NumPy then computes in float64."""
    model = FullyConnectedNet([6], 48, 3, weight_scale=0.3)
    model.params["W1"] = np.linspace(-0.3, 0.3, 48 * 6).reshape(48, 6)
    solver = Solver(model, data, batch_size=20, num_epochs=2, verbose=False)
    solver.train()
    assert np.isfinite(solver.loss_history).all()
    assert not recwarn.list


def test_two_layer_net_trains(data, capsys):
    np.random.seed(5)
    model = TwoLayerNet(48, 6, 3, weight_scale=0.3, reg=0.1)
    solver = Solver(model, data, batch_size=20, num_epochs=3, optim_config={"learning_rate": 2e-2})
    solver.train()
    _, (peer, lines, draw) = train_both(data, capsys, hidden=(6,), net={"reg": 0.1}, num_epochs=3)
    np.testing.assert_allclose(solver.loss_history, peer.loss_history, rtol=1e-6)
    assert_same_dicts(model.params, peer.model.params, rtol=1e-6, atol=1e-9)
    assert len(lines) == 5
    assert draw


def test_an_untrained_step_and_a_whole_training_agree(data):
    """`_step`, which notebooks may call, is the loop's iteration."""
    solvers = []
    for _ in range(2):
        np.random.seed(1)
        model = FullyConnectedNet([6], 48, 3, 0.7, "batchnorm", weight_scale=0.3, dtype=np.float64)
        settings = {"update_rule": "adam", "optim_config": {"learning_rate": 1e-2}, "batch_size": 60}
        solvers.append(Solver(model, data, num_epochs=1, verbose=False, **settings))
    stepped, trained = solvers
    for run in (stepped._step, trained.train):
        np.random.seed(2)
        run()
    np.testing.assert_allclose(stepped.loss_history, trained.loss_history, rtol=1e-12)
    assert_same_dicts(stepped.model.params, trained.model.params, rtol=1e-9, atol=1e-12)
    stepped._reset()
    assert (stepped.epoch, stepped.best_val_acc, stepped.loss_history) == (0, 0, [])
    assert stepped.optim_configs["W1"] == {"learning_rate": 1e-2}


def test_training_twice_goes_on(data, capsys):
    results = train_both(data, capsys, update_rule="adam")
    for i, (solver, *_) in enumerate(results):
        np.random.seed(8)
        solver.train()
        results[i] = (solver, capsys.readouterr().out.splitlines(), np.random.rand())
    assert_same_training(results)
    assert len(results[0][0].loss_history) == 24


def test_check_accuracy(data):
    model = FullyConnectedNet([6], 48, 3, weight_scale=0.3)
    solver = Solver(model, data)
    x, y = data["X_train"], data["y_train"]
    right = model.loss(x).argmax(axis=1) == y
    assert solver.check_accuracy(x, y) == right.mean()
    assert solver.check_accuracy(x, y, batch_size=2) == right.mean()
    assert solver.check_accuracy(x, y, num_samples=60) == right.mean()
    np.random.seed(3)
    rows, then = np.random.choice(60, 13), np.random.rand()
    np.random.seed(3)
    assert solver.check_accuracy(x, y, num_samples=13) == right[rows].mean()
    assert np.random.rand() == then


def test_an_interrupted_training_leaves_what_it_reached(data, monkeypatch):
    """Parameters stay on the device between checks; whoever stops a training still finds them in the model."""
    runs = []
    for stop in (None, 2):
        np.random.seed(5)
        model = FullyConnectedNet([6], 48, 3, normalization="batchnorm", weight_scale=0.3, dtype=np.float64)
        settings = {"update_rule": "adam", "batch_size": 20, "print_every": 1}
        solver = Solver(model, data, num_epochs=1 if stop is None else 4, **settings)
        printed = []

        def interrupt(line, printed=printed, stop=stop):
            printed.append(line)
            if stop is not None and sum("Iteration" in line for line in printed) == stop:
                raise KeyboardInterrupt

        monkeypatch.setattr("builtins.print", interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            solver.train()
        monkeypatch.undo()
        runs.append(solver)
    whole, stopped = runs
    assert stopped.loss_history == whole.loss_history[:2]
    config = stopped.optim_configs["W1"]
    assert config["t"] == 2
    assert config["m"].any()
    assert np.abs(stopped.model.params["W1"] - stopped.best_params["W1"]).max() > 1e-4
    np.random.seed(1)
    before = len(stopped.loss_history)
    stopped.train()
    assert len(stopped.loss_history) == before + 12
    assert pickle.loads(pickle.dumps(stopped)).loss_history == stopped.loss_history


def test_a_subclass_may_measure_accuracy_itself(data):
    seen = []

    class Own(Solver):
        def check_accuracy(self, X, y, num_samples=None, batch_size=100):
            seen.append(X is data["X_train"] or X is data["X_val"])
            return 0.5 + len(seen) / 100

    solver = Own(FullyConnectedNet([6], 48, 3), data, batch_size=20, num_epochs=2, verbose=False)
    solver.train()
    assert seen == [True] * 6
    assert solver.val_acc_history == [0.52, 0.54, 0.56]


def test_rows_that_the_model_does_not_take_are_refused_before_training(data):
    for part in ("train", "val"):
        solver = Solver(FullyConnectedNet([6], 48, 3), data | {f"X_{part}": data[f"X_{part}"][:, :2]})
        with pytest.raises(ValueError, match=r"X has shape \(\d+, 2, 4, 4\), 32 features; W1 has shape \(48, 6\)"):
            solver.train()
        assert not solver.loss_history


def test_attributes_are_the_keywords(data):
    model, config = FullyConnectedNet([6], 48, 3), {"learning_rate": 1e-3}
    solver = Solver(model, data)
    assert solver.model is model
    assert all(getattr(solver, name) is value for name, value in data.items())
    defaults = {"lr_decay": 1.0, "batch_size": 100, "num_epochs": 10, "num_train_samples": 1000}
    defaults |= {"num_val_samples": None, "checkpoint_name": None, "print_every": 10, "verbose": True}
    assert {name: getattr(solver, name) for name in defaults} == defaults
    assert solver.optim_config == {}
    assert solver.update_rule is optim.sgd
    assert Solver(model, data, update_rule="adam", optim_config=config).optim_configs["b1"] == config


def test_unknown_arguments_are_named_verbatim(data):
    model = FullyConnectedNet([6], 48, 3)
    with pytest.raises(ValueError, match=r'^Unrecognized arguments "a", "b"$'):
        Solver(model, data, a=1, verbose=False, b=2)
    with pytest.raises(ValueError, match=r'^Invalid update_rule "sdg"$'):
        Solver(model, data, update_rule="sdg")


def test_labels_that_do_not_fit_are_refused(data):
    model = FullyConnectedNet([6], 48, 3)
    for part in ("train", "val"):
        with pytest.raises(ValueError, match=r"y has shape \(5,\)"):
            Solver(model, data | {f"y_{part}": np.zeros(5, int)})
        with pytest.raises(TypeError, match="integers"):
            Solver(model, data | {f"y_{part}": data[f"y_{part}"].astype(float)})


def test_checkpoints(data, tmp_path, capsys):
    name = str(tmp_path / "run")
    model = FullyConnectedNet([6], 48, 3, normalization="batchnorm")
    solver = Solver(model, data, batch_size=20, num_epochs=2, checkpoint_name=name)
    solver.train()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "check" in line] == [
        f'Saving checkpoint to "{name}_epoch_{epoch}.pkl"' for epoch in range(3)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"run_epoch_{epoch}.pkl" for epoch in range(3)]
    with open(f"{name}_epoch_1.pkl", "rb") as file:
        checkpoint = pickle.load(file)
    assert checkpoint["epoch"] == 1
    assert checkpoint["loss_history"] == solver.loss_history[:3]
    assert checkpoint["model"].loss(data["X_val"]).shape == (30, 3)
    assert checkpoint["update_rule"] is optim.sgd
    quiet = Solver(model, data, num_epochs=1, checkpoint_name=f"{name}2", verbose=False)
    quiet.train()
    assert capsys.readouterr().out == ""
    assert (tmp_path / "run2_epoch_1.pkl").exists()


def test_solvers_pickle(data):
    np.random.seed(0)
    model = FullyConnectedNet([6], 48, 3, weight_scale=0.3)
    solver = Solver(model, data, update_rule="adam", num_epochs=2, batch_size=20, verbose=False)
    solver.train()
    other = pickle.loads(pickle.dumps(solver))
    assert other.loss_history == solver.loss_history
    np.testing.assert_array_equal(other.optim_configs["W1"]["m"], solver.optim_configs["W1"]["m"])
    for trained in (solver, other):
        np.random.seed(1)
        trained.train()
    assert other.loss_history == solver.loss_history


class OwnNet(FullyConnectedNet):
    """A notebook's own loss on top of the assignment's."""

    def loss(self, X, y=None):
        if y is None:
            return super().loss(X)
        loss, grads = super().loss(X, y)
        penalty = sum(np.abs(self.params[name]).sum() for name in self.params)
        return loss + 0.01 * penalty, {name: g + 0.01 * np.sign(self.params[name]) for name, g in grads.items()}


class OwnReference(reference.FullyConnectedNet):
    """The same, on top of the reference's."""

    def loss(self, X, y=None):
        if y is None:
            return super().loss(X)
        loss, grads = super().loss(X, y)
        penalty = sum(np.abs(self.params[name]).sum() for name in self.params)
        return loss + 0.01 * penalty, {name: g + 0.01 * np.sign(self.params[name]) for name, g in grads.items()}


@pytest.mark.parametrize("rule", RATES)
@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(reference.FullyConnectedNet, reference.FullyConnectedNet), (OwnNet, OwnReference)],
    ids=["foreign", "subclass"],
)
def test_a_users_own_model_trains_step_by_step(data, capsys, rule, mine, theirs):
    results = []
    for solver_class, net_class in ((Solver, mine), (reference.Solver, theirs)):
        np.random.seed(2)
        model = net_class([6], 48, 3, 0.8, "layernorm", 0.01, 0.3, np.float64)
        config = {"learning_rate": RATES[rule]}
        solver = solver_class(
            model, data, update_rule=rule, optim_config=config, batch_size=20, num_epochs=3, lr_decay=0.9
        )
        solver.train()
        results.append((solver, capsys.readouterr().out.splitlines(), np.random.rand()))
    assert_same_training(results)


# ---------------------------------------------------------------------------------------------------
# Compilation
# ---------------------------------------------------------------------------------------------------


def test_a_second_training_compiles_nothing(data, compilations):
    def train(rule, seed, **kwargs):
        np.random.seed(seed)
        model = FullyConnectedNet([9, 7], 48, 3, 0.8, "batchnorm", kwargs.pop("reg", 0.1), kwargs.pop("scale", 0.3))
        config = {"learning_rate": kwargs.pop("learning_rate", 1e-2)}
        Solver(model, data, update_rule=rule, optim_config=config, batch_size=20, num_epochs=2, **kwargs).train()

    train("sgd", 0)
    assert compilations
    compilations.clear()
    train("sgd", 1, learning_rate=3e-3, reg=0.02, scale=0.1, lr_decay=0.5)
    for seed, rule in itertools.product(range(2), RATES):  # one program serves small models by all rules
        train(rule, seed)
    assert not compilations


def test_large_models_share_a_program_among_learning_rates(data, compilations, monkeypatch):
    monkeypatch.setattr("jaxfc.cs231n.stretch.SMALL", 10)
    for rate in (1e-2, 1e-3):
        compilations.clear()
        model = FullyConnectedNet([11], 48, 3)
        config = {"learning_rate": rate}
        Solver(model, data, update_rule="adam", optim_config=config, batch_size=20, num_epochs=2).train()
    assert not compilations


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_large_models_train_as_small_ones(data, capsys, monkeypatch, rule):
    monkeypatch.setattr("jaxfc.cs231n.stretch.SMALL", 10)
    assert_same_training(train_both(data, capsys, update_rule=rule, num_epochs=2))


def test_a_training_leaves_the_arrays_it_was_given_alone(data):
    """Programs take over memory: that of copies, never that of parameters which a notebook still holds."""
    model = FullyConnectedNet([6], 48, 3, 0.8, "batchnorm", weight_scale=0.3)
    held = dict(model.params)
    before = {name: w.copy() for name, w in held.items()}
    rows = data["X_train"].copy()
    solver = Solver(model, data, update_rule="adam", batch_size=20, num_epochs=2, verbose=False)
    solver.train()
    assert_same_dicts(held, before, rtol=0)
    np.testing.assert_array_equal(data["X_train"], rows)
    assert np.abs(model.params["W1"] - held["W1"]).max() > 0
    first = {name: w.copy() for name, w in solver.best_params.items()}
    solver.train()
    assert solver.best_params is model.params
    assert all(np.isfinite(w).all() for w in first.values())


@pytest.mark.parametrize(("shape", "dtype"), [((3, 5), np.float32), ((7,), np.float64), ((1, 2, 3), bool)])
def test_aligned_arrays_are_read_where_they_lie(shape, dtype):
    array = aligned(shape, dtype)
    assert (array.shape, array.dtype, array.ctypes.data % ALIGNMENT) == (shape, dtype, 0)
    array[...] = 1
    with jax.enable_x64(True):
        there = jax.device_put(array)
    np.testing.assert_array_equal(there, np.ones(shape, dtype))
    if array.size and jax.default_backend() == "cpu":
        assert there.unsafe_buffer_pointer() == array.ctypes.data


def test_masks_drawn_ahead_are_bounded(data, capsys, monkeypatch):
    monkeypatch.setattr("jaxfc.cs231n.stretch.MASK_BYTES", 2 * 14 * 20)
    net = {"dropout_keep_ratio": 0.7}
    results = train_both(data, capsys, net=net, print_every=100, batch_size=10, num_epochs=2)
    assert_same_training(results)
