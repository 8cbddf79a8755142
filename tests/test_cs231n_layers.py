"""The assignment's functions at the NumPy face: layers, update rules, numerical gradients, data, pictures."""

# ruff: noqa: NPY002 - the assignment draws from the global stream

import importlib
import pickle
from types import SimpleNamespace

import jax
import numpy as np
import numpy_reference as reference
import pytest

from jaxfc.cs231n import data_utils, gradient_check, layer_utils, layers, optim, vis_utils
from jaxfc.cs231n.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from jaxfc.errors import FormatError


@pytest.fixture(autouse=True)
def leaves_jax_in_32_bits():
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64


def same(got, expected, dtype=np.float64):
    """Arrays, in order, equal to the last digits, of that type, NumPy's and writable."""
    for mine, theirs in zip(got, expected, strict=True):
        assert type(mine) is np.ndarray
        assert mine.dtype == dtype
        assert mine.shape == theirs.shape
        assert mine.flags.writeable
        tolerance = 1e-10 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def matches_differences(forward, inputs, dout, gradients):
    for x, gradient in zip(inputs, gradients, strict=True):
        expected = eval_numerical_gradient_array(lambda _: forward(), x, dout)
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


# ---------------------------------------------------------------------------------------------------
# Layers
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sandwich", [False, True])
def test_affine_takes_inputs_of_any_number_of_axes(seed, sandwich):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 4, size=seed + 2)
    x = rng.normal(size=shape)
    w = rng.normal(size=(x[0].size, 3))
    b = rng.normal(size=3)
    forward = layer_utils.affine_relu_forward if sandwich else layers.affine_forward
    backward = layer_utils.affine_relu_backward if sandwich else layers.affine_backward
    (out, cache), dout = forward(x, w, b), rng.normal(size=(len(x), 3))
    expected_out, expected_cache = reference.affine_forward(x, w, b)
    expected_dout = dout
    if sandwich:
        assert len(cache) == 2
        expected_dout = reference.relu_backward(dout, expected_out)
        expected_out = np.maximum(expected_out, 0)
    gradients = backward(dout, cache)
    same([out], [expected_out])
    same(gradients, reference.affine_backward(expected_dout, expected_cache))
    assert gradients[0].shape == x.shape
    matches_differences(lambda: forward(x, w, b)[0], (x, w, b), dout, gradients)


def test_affine_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"x \(2, 3, 4\) is \(2, 12\) as rows; w \(11, 5\)"):
        layers.affine_forward(np.zeros((2, 3, 4)), np.zeros((11, 5)), np.zeros(5))
    with pytest.raises(ValueError, match=r"b \(4,\) do not fit"):
        layers.affine_forward(np.zeros((2, 3)), np.zeros((3, 5)), np.zeros(4))


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 2, 2)])
def test_relu(shape):
    rng = np.random.default_rng(0)
    x, dout = rng.normal(size=shape), rng.normal(size=shape)
    out, cache = layers.relu_forward(x)
    dx = layers.relu_backward(dout, cache)
    same([out, dx], [np.maximum(x, 0), dout * (x > 0)])
    matches_differences(lambda: layers.relu_forward(x)[0], [x], dout, [dx])


@pytest.mark.parametrize("backward", [layers.batchnorm_backward, layers.batchnorm_backward_alt])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (4, 5), (9, 3)])
def test_batchnorm_over_several_batches_and_then_at_test_time(n, d, backward):
    rng = np.random.default_rng(n)
    gamma, beta = rng.normal(size=d), rng.normal(size=d)
    mine, theirs = {"mode": "train", "eps": 1e-3, "momentum": 0.7}, {"mode": "train", "eps": 1e-3, "momentum": 0.7}
    for _ in range(3):
        x, dout = rng.normal(2, 3, size=(n, d)), rng.normal(size=(n, d))
        out, cache = layers.batchnorm_forward(x, gamma, beta, mine)
        expected, expected_cache = reference.batchnorm_forward(x, gamma, beta, theirs)
        gradients = backward(dout, cache)
        same([out], [expected])
        same(gradients, reference.batchnorm_backward(dout, expected_cache))
        names = ("running_mean", "running_var")
        same([mine[name] for name in names], [theirs[name] for name in names])

    def forward():
        return layers.batchnorm_forward(x, gamma, beta, dict(mine))[0]

    matches_differences(forward, (x, gamma, beta), dout, gradients)

    mine["mode"] = theirs["mode"] = "test"
    averages = mine["running_mean"].copy(), mine["running_var"].copy()
    out, cache = layers.batchnorm_forward(x, gamma, beta, mine)
    same([out], [reference.batchnorm_forward(x, gamma, beta, theirs)[0]])
    matches_differences(forward, (x, gamma, beta), dout, backward(dout, cache))
    same([mine["running_mean"], mine["running_var"]], averages)


def test_batchnorm_starts_from_zero_averages_and_the_assignments_defaults():
    x, bn_param = np.random.default_rng(0).normal(5, 2, size=(6, 3)), {"mode": "train"}
    out, _ = layers.batchnorm_forward(x, np.ones(3), np.zeros(3), bn_param)
    same([bn_param["running_mean"], bn_param["running_var"]], [0.1 * x.mean(axis=0), 0.1 * x.var(axis=0)])
    same([out], [(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)])
    fresh = {"mode": "test"}
    same([layers.batchnorm_forward(x, np.ones(3), np.zeros(3), fresh)[0]], [x / np.sqrt(1e-5)])
    same([fresh["running_mean"], fresh["running_var"]], [np.zeros(3), np.zeros(3)])


def test_batchnorm_refuses_another_mode():
    with pytest.raises(ValueError, match=r'^Invalid forward batchnorm mode "dev"$'):
        layers.batchnorm_forward(np.ones((2, 3)), np.ones(3), np.zeros(3), {"mode": "dev"})


@pytest.mark.parametrize("ln_param", [{}, {"eps": 1e-2}])
@pytest.mark.parametrize(("n", "d"), [(1, 4), (4, 5), (9, 2)])
def test_layernorm(n, d, ln_param):
    rng = np.random.default_rng(n)
    x, gamma, beta, dout = rng.normal(2, 3, (n, d)), rng.normal(size=d), rng.normal(size=d), rng.normal(size=(n, d))
    out, cache = layers.layernorm_forward(x, gamma, beta, ln_param)
    expected, expected_cache = reference.layernorm_forward(x, gamma, beta, ln_param)
    gradients = layers.layernorm_backward(dout, cache)
    same([out], [expected])
    same(gradients, reference.layernorm_backward(dout, expected_cache))
    forward = lambda: layers.layernorm_forward(x, gamma, beta, ln_param)[0]  # noqa: E731
    matches_differences(forward, (x, gamma, beta), dout, gradients)


@pytest.mark.parametrize("p", [0.25, 0.6])
@pytest.mark.parametrize("shape", [(7, 5), (3, 2, 4)])
def test_dropout_draws_the_assignments_mask(p, shape):
    rng = np.random.default_rng(0)
    x, dout = rng.normal(size=shape), rng.normal(size=shape)
    np.random.seed(5)
    mask = np.random.rand(*shape) < p
    then = np.random.rand()

    np.random.seed(5)
    out, cache = layers.dropout_forward(x, {"mode": "train", "p": p})
    assert np.random.rand() == then
    assert cache[0] == {"mode": "train", "p": p}
    np.testing.assert_array_equal(cache[1], mask)
    same([out, layers.dropout_backward(dout, cache)], [x * mask / p, dout * mask / p])

    seeded = {"mode": "train", "p": p, "seed": 5}
    for _ in range(2):
        np.testing.assert_array_equal(layers.dropout_forward(x, seeded)[0], out)
        assert np.random.rand() == then
    gradient = layers.dropout_backward(dout, cache)
    matches_differences(lambda: layers.dropout_forward(x, seeded)[0], [x], dout, [gradient])


def test_dropout_at_test_time_is_the_identity_and_draws_nothing():
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.random.seed(1)
    expected = np.random.rand()
    np.random.seed(1)
    out, cache = layers.dropout_forward(x, {"mode": "test", "p": 0.5})
    np.testing.assert_array_equal(out, x)
    np.testing.assert_array_equal(layers.dropout_backward(x, cache), x)
    assert np.random.rand() == expected


@pytest.mark.parametrize("name", ["softmax_loss", "svm_loss"])
@pytest.mark.parametrize(("n", "c", "label_type"), [(1, 2, np.int64), (6, 4, np.int32), (11, 10, np.uint8)])
def test_losses(n, c, label_type, name):
    rng = np.random.default_rng(n)
    x, y = rng.normal(0, 3, size=(n, c)), rng.integers(c, size=n).astype(label_type)
    loss, dx = getattr(layers, name)(x, y)
    expected, expected_dx = getattr(reference, name)(x, y)
    assert type(loss) is float
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    same([dx], [expected_dx])
    numerical = eval_numerical_gradient(lambda x: getattr(layers, name)(x, y)[0], x, verbose=False)
    np.testing.assert_allclose(dx, numerical, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("loss", [layers.softmax_loss, layers.svm_loss])
def test_losses_refuse_labels_that_do_not_fit(loss):
    with pytest.raises(ValueError, match=r"y has shape \(2,\)"):
        loss(np.zeros((3, 4)), np.zeros(2, int))
    with pytest.raises(TypeError, match="integers"):
        loss(np.zeros((3, 4)), np.zeros(3))


def test_softmax_of_large_scores_is_finite():
    loss, dx = layers.softmax_loss(np.array([[1e4, 0.0], [-1e4, 0.0]]), np.array([0, 0]))
    assert loss == pytest.approx(5e3)
    assert np.isfinite(dx).all()


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 2, 3)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    b, one, dout = (rng.normal(size=size).astype(np.float32) for size in (5, 5, (4, 5)))
    out, cache = layers.affine_forward(x, w, b)
    expected, expected_cache = reference.affine_forward(x, w, b)
    same([out], [expected], np.float32)
    same(layers.affine_backward(dout, cache), reference.affine_backward(dout, expected_cache), np.float32)
    for name, param in (("batchnorm", {"mode": "train"}), ("layernorm", {})):
        out, cache = getattr(layers, f"{name}_forward")(expected, one, b, dict(param))
        theirs, their_cache = getattr(reference, f"{name}_forward")(expected, one, b, dict(param))
        same([out], [theirs], np.float32)
        backward = (getattr(module, f"{name}_backward") for module in (layers, reference))
        same(*(f(dout, c) for f, c in zip(backward, (cache, their_cache), strict=True)), np.float32)
    same([layers.relu_forward(out)[0]], [np.maximum(out, 0)], np.float32)
    assert layers.dropout_forward(out, {"mode": "train", "p": 0.5})[0].dtype == np.float32
    y = np.array([0, 1, 2, 3])
    for name in ("softmax_loss", "svm_loss"):
        same([getattr(layers, name)(out, y)[1]], [getattr(reference, name)(out, y)[1]], np.float32)


def test_inputs_are_left_alone():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in ((4, 3), (3, 2), (2,), (4, 2))]
    copies = [a.copy() for a in arrays]
    x, w, b, dout = arrays
    out, cache = layer_utils.affine_relu_forward(x, w, b)
    out += 1  # the caller's own
    layer_utils.affine_relu_backward(dout, cache)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---------------------------------------------------------------------------------------------------
# Update rules
# ---------------------------------------------------------------------------------------------------

SHAPE = (4, 5)


def ramp(first, last):
    return np.linspace(first, last, 20).reshape(SHAPE)


# What the assignment's cells 7, 9 and 10 expect; the last number is the relative error that they print, at most.
ASSIGNMENT = {
    "sgd_momentum": (
        {"learning_rate": 1e-3, "velocity": ramp(0.6, 0.9)},
        {
            "next_w": [
                [0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789],
                [0.47454737, 0.54133684, 0.60812632, 0.67491579, 0.74170526],
                [0.80849474, 0.87528421, 0.94207368, 1.00886316, 1.07565263],
                [1.14244211, 1.20923158, 1.27602105, 1.34281053, 1.4096],
            ],
            "velocity": [
                [0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158],
                [0.61138947, 0.62554737, 0.63970526, 0.65386316, 0.66802105],
                [0.68217895, 0.69633684, 0.71049474, 0.72465263, 0.73881053],
                [0.75296842, 0.76712632, 0.78128421, 0.79544211, 0.8096],
            ],
        },
        1e-8,
    ),
    "rmsprop": (
        {"learning_rate": 1e-2, "cache": ramp(0.6, 0.9)},
        {
            "next_w": [
                [-0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247],
                [-0.132737, -0.08078555, -0.02881884, 0.02316247, 0.07515774],
                [0.12716641, 0.17918792, 0.23122175, 0.28326742, 0.33532447],
                [0.38739248, 0.43947102, 0.49155973, 0.54365823, 0.59576619],
            ],
            "cache": [
                [0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321],
                [0.67329252, 0.68859723, 0.70395734, 0.71937285, 0.73484377],
                [0.75037008, 0.7659518, 0.78158892, 0.79728144, 0.81302936],
                [0.82883269, 0.84469141, 0.86060554, 0.87657507, 0.8926],
            ],
        },
        1e-7,
    ),
    "adam": (
        {"learning_rate": 1e-2, "m": ramp(0.6, 0.9), "v": ramp(0.7, 0.5), "t": 5},
        {
            "next_w": [
                [-0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977],
                [-0.1380274, -0.08544591, -0.03286534, 0.01971428, 0.0722929],
                [0.1248705, 0.17744702, 0.23002243, 0.28259667, 0.33516969],
                [0.38774145, 0.44031188, 0.49288093, 0.54544852, 0.59801459],
            ],
            "m": [
                [0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474],
                [0.57736842, 0.59684211, 0.61631579, 0.63578947, 0.65526316],
                [0.67473684, 0.69421053, 0.71368421, 0.73315789, 0.75263158],
                [0.77210526, 0.79157895, 0.81105263, 0.83052632, 0.85],
            ],
            "v": [
                [0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853],
                [0.64683452, 0.63628604, 0.6257431, 0.61520571, 0.60467385],
                [0.59414753, 0.58362676, 0.57311152, 0.56260183, 0.55209767],
                [0.54159906, 0.53110598, 0.52061845, 0.51013645, 0.49966],
            ],
        },
        1.2e-7,
    ),
}


def rel_error(x, y):
    """The assignment's own."""
    return np.max(np.abs(x - y) / (np.maximum(1e-8, np.abs(x) + np.abs(y))))


@pytest.mark.parametrize("name", ASSIGNMENT)
def test_rules_give_the_assignments_numbers(name):
    config, expected, error = ASSIGNMENT[name]
    config = dict(config)
    next_w, returned = getattr(optim, name)(ramp(-0.4, 0.6), ramp(-0.6, 0.4), config=config)
    assert returned is config
    assert config.get("t", 6) == 6
    for key, values in expected.items():
        assert rel_error(np.array(values), next_w if key == "next_w" else config[key]) <= error


DEFAULTS = {
    "sgd": {"learning_rate": 1e-2},
    "sgd_momentum": {"learning_rate": 1e-2, "momentum": 0.9},
    "rmsprop": {"learning_rate": 1e-2, "decay_rate": 0.99, "epsilon": 1e-8},
    "adam": {"learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", DEFAULTS)
def test_rules_fill_in_their_defaults_and_equal_numpy_over_many_steps(name, dtype):
    rng = np.random.default_rng(0)
    w, mine, theirs = rng.normal(size=(3, 2)).astype(dtype), {}, {}
    expected = w
    for _ in range(5):
        dw = rng.normal(size=(3, 2)).astype(dtype)
        w, returned = getattr(optim, name)(w, dw, mine)
        expected, _ = reference.RULES[name](expected, dw, theirs)
        assert returned is mine
        same([w], [expected], dtype)
        assert mine.keys() == theirs.keys()
        slots = [slot for slot in mine if slot in ("velocity", "cache", "m", "v")]
        same([mine[slot] for slot in slots], [theirs[slot] for slot in slots], dtype)
    assert {key: mine[key] for key in DEFAULTS[name]} == DEFAULTS[name]
    assert mine.get("t", 5) == 5
    _, fresh = getattr(optim, name)(w, dw)
    assert fresh.get("t", 1) == 1
    assert fresh.keys() == mine.keys()


def test_rules_refuse_gradients_of_another_shape():
    with pytest.raises(ValueError, match=r"sgd: w has shape \(2,\) and dw \(3,\)"):
        optim.sgd(np.zeros(2), np.zeros(3))


# ---------------------------------------------------------------------------------------------------
# Numerical gradients
# ---------------------------------------------------------------------------------------------------


def test_numerical_gradient_restores_x_and_prints_on_demand(capsys):
    x = np.random.default_rng(0).normal(size=(2, 3))
    copy = x.copy()
    gradient = eval_numerical_gradient(lambda x: np.sum(x**3), x, verbose=False)
    assert capsys.readouterr().out == ""
    np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-6)
    np.testing.assert_array_equal(x, copy)
    eval_numerical_gradient(lambda x: np.sum(x**3), x)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith("(0, 0) ")


def test_numerical_gradient_of_an_array():
    rng = np.random.default_rng(0)
    x, a, df = rng.normal(size=(2, 3)), rng.normal(size=(3, 4)), rng.normal(size=(2, 4))
    np.testing.assert_allclose(eval_numerical_gradient_array(lambda x: x @ a, x, df), df @ a.T, rtol=1e-6)
    buffer = np.empty((2, 4))  # a function that writes its results into the same array each time
    gradient = eval_numerical_gradient_array(lambda x: np.matmul(x, a, out=buffer), x, df, h=1e-4)
    np.testing.assert_allclose(gradient, df @ a.T, rtol=1e-6)


def test_numerical_gradients_of_blobs_and_nets():
    rng = np.random.default_rng(0)

    def blob(*shape):
        return SimpleNamespace(vals=rng.normal(size=shape), diffs=rng.normal(size=shape))

    a, b, out = blob(2, 3), blob(3, 4), blob(2, 4)

    def multiply(a, b, out):
        out.vals[:] = a.vals @ b.vals

    expected = out.diffs @ b.vals.T, a.vals.T @ out.diffs
    net = SimpleNamespace(forward=lambda: multiply(a, b, out))
    for gradients in (
        gradient_check.eval_numerical_gradient_blobs(multiply, (a, b), out),
        gradient_check.eval_numerical_gradient_net(net, (a, b), out),
    ):
        for got, wanted in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_sparse_gradient_check_prints_the_assignments_lines(capsys):
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    gradient_check.grad_check_sparse(lambda x: np.sum(x**2), x, 2 * x, num_checks=4)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    for line in lines:
        numerical, analytic, error = (float(part.rstrip(",")) for part in line.split()[1::2][:2] + line.split()[-1:])
        assert line == f"numerical: {numerical:f} analytic: {analytic:f}, relative error: {error:e}"
        assert numerical == analytic
        assert error < 1e-8
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])


# ---------------------------------------------------------------------------------------------------
# Pictures and data
# ---------------------------------------------------------------------------------------------------


def test_grid_of_pictures():
    pictures = np.random.default_rng(0).normal(size=(5, 4, 6, 3))
    pictures[4] = 2.5  # all of one colour: left black, not divided by zero
    grid = vis_utils.visualize_grid(pictures, ubound=100.0, padding=2)
    assert grid.shape == (3 * 6 - 2, 3 * 8 - 2, 3)
    for i, picture in enumerate(pictures[:4]):
        top, left = 6 * (i // 3), 8 * (i % 3)
        expected = 100 * (picture - picture.min()) / (picture.max() - picture.min())
        np.testing.assert_allclose(grid[top : top + 4, left : left + 6], expected)
    assert not grid[4:6].any()
    assert not grid[:, 6:8].any()
    assert not grid[6:10, 8:14].any()
    assert vis_utils.visualize_grid(pictures[:4]).shape == (2 * 5 - 1, 2 * 7 - 1, 3)


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    """The folder of a small CIFAR-10, and the contents of its six files."""
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    folder.mkdir()
    rng, contents = np.random.default_rng(0), []
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        images, labels = rng.integers(256, size=(20, 3072), dtype=np.uint8), rng.integers(10, size=20)
        (folder / name).write_bytes(pickle.dumps({b"data": images, b"labels": labels.tolist()}, protocol=3))
        contents.append((images, labels))
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"num_cases_per_batch": 20, b"label_names": names}, protocol=3))
    return folder, contents


def test_a_batch_of_cifar10(batches):
    folder, contents = batches
    images, labels = data_utils.load_CIFAR_batch(str(folder / "data_batch_2"))
    assert images.dtype == np.float64
    assert images.shape == (20, 32, 32, 3)
    assert np.issubdtype(labels.dtype, np.integer)
    raw, expected = contents[1]
    np.testing.assert_array_equal(images, raw.reshape(20, 3, 32, 32).transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(labels, expected)
    with open(folder / "data_batch_2", "rb") as file:
        loaded = data_utils.load_pickle(file)
    np.testing.assert_array_equal(loaded[b"data"] if b"data" in loaded else loaded["data"], raw)


def test_load_pickle_executes_nothing(tmp_path):
    (tmp_path / "bad").write_bytes(b"cbuiltins\nprint\n(S'boo'\ntR.")
    with open(tmp_path / "bad", "rb") as file, pytest.raises(FormatError, match="bad"):
        data_utils.load_pickle(file)


def test_the_whole_of_cifar10(batches):
    folder, contents = batches
    x_train, y_train, x_test, y_test = data_utils.load_CIFAR10(str(folder))
    assert (x_train.shape, y_train.shape) == ((100, 32, 32, 3), (100,))
    assert (x_test.shape, y_test.shape) == ((20, 32, 32, 3), (20,))
    np.testing.assert_array_equal(y_train, np.concatenate([labels for _, labels in contents[:5]]))
    np.testing.assert_array_equal(x_train[45], contents[2][0][5].reshape(3, 32, 32).transpose(1, 2, 0))
    np.testing.assert_array_equal(x_test[7], contents[5][0][7].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_cifar10_as_the_notebooks_have_it(batches, monkeypatch, subtract_mean):
    folder, contents = batches
    monkeypatch.setenv("JAXFC_DATA", str(folder.parent))
    data = data_utils.get_CIFAR10_data(70, 12, 9, subtract_mean=subtract_mean)
    assert list(data) == ["X_train", "y_train", "X_val", "y_val", "X_test", "y_test"]
    x = np.concatenate([images for images, _ in contents]).reshape(-1, 3, 32, 32).astype(np.float64)
    y = np.concatenate([labels for _, labels in contents])
    mean = x[:70].mean(axis=0) if subtract_mean else 0
    for name, rows in (("train", slice(70)), ("val", slice(70, 82)), ("test", slice(100, 109))):
        images = data[f"X_{name}"]
        assert images.dtype == np.float64
        assert images.flags.writeable
        np.testing.assert_allclose(images, x[rows] - mean, atol=1e-10)
        np.testing.assert_array_equal(data[f"y_{name}"], y[rows])
    with pytest.raises(ValueError, match="num_training=95 and num_validation=6 need 101 of 100"):
        data_utils.get_CIFAR10_data(95, 6, 1)
    with pytest.raises(ValueError, match="num_test=21 of 20"):
        data_utils.get_CIFAR10_data(5, 6, 21)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("layers", "conv_forward_naive"),
        ("layers", "conv_backward_naive"),
        ("layers", "max_pool_forward_naive"),
        ("layers", "spatial_batchnorm_forward"),
        ("layers", "spatial_groupnorm_backward"),
        ("layer_utils", "conv_relu_forward"),
        ("layer_utils", "conv_bn_relu_pool_forward"),
        ("classifiers.fc_net", "conv_forward_fast"),
        ("data_utils", "load_tiny_imagenet"),
        ("data_utils", "load_models"),
        ("data_utils", "load_imagenet_val"),
    ],
)
def test_convolutional_names_say_that_they_are_out_of_scope(module, name):
    with pytest.raises(ImportError, match=f"{name}.*out of scope"):
        exec(f"from jaxfc.cs231n.{module} import {name}")


def test_other_unknown_names_are_ordinary_errors():
    for module in ("layers", "layer_utils", "data_utils", "classifiers.fc_net"):
        module = importlib.import_module(f"jaxfc.cs231n.{module}")
        assert not hasattr(module, "no_such_name")
    with pytest.raises(ImportError, match="no_such_name"):
        from jaxfc.cs231n.layers import no_such_name  # noqa: F401


@pytest.mark.parametrize("module", ["fast_layers", "classifiers.cnn"])
def test_modules_of_convolutional_networks_say_that_they_are_out_of_scope(module):
    with pytest.raises(ImportError, match="out of scope"):
        importlib.import_module(f"jaxfc.cs231n.{module}")
