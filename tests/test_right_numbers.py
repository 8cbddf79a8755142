"""What is computed by compiled programs, at the sizes at which a compiler divides the work, against plain NumPy.

On CPUs, jaxlib 0.10.2 compiles some small products that are followed by a sum, such as a matrix times each of many
vectors and then the sum of squares, so that what comes after the 32,768th is wrong, with no error. Tests on a few rows
can't see such a thing. Here everything that the library computes of rows is compiled at row counts just beyond such
limits, and compared in float64.

A row in 32,769 hardly changes a mean: the last rows have a thousand times the weight of others.
"""

from functools import partial

import jax
import numpy as np
import numpy_layers as oracle
import pytest
from scipy import special
from test_metrics import CASES as METRICS

import jaxfc
from jaxfc import Classification, Multilabel, Regression, layers, objective
from jaxfc.artifacts.predictor import About
from jaxfc.optim import sgd
from jaxfc.search.candidates import stack
from jaxfc.training.measuring import DeviceData
from jaxfc.training.program import NEVER, Recipe, begin, train_program
from jaxfc.training.step import init_state

LAST = 8  # rows that weigh more
QUANTILES = (0.1, 0.9)
# Just beyond two of the row counts at which XLA's CPU backend divides work, by the widths of narrow and wide layers.
SHAPES = ((32_769, 1), (32_769, 3), (32_769, 7), (32_769, 100), (65_537, 3))
each_shape = pytest.mark.parametrize(("rows", "width"), SHAPES)


def wide(tree):
    """Arrays as NumPy's, in float64."""

    def one(leaf):
        leaf = np.asarray(leaf)
        return leaf.astype(np.float64) if leaf.dtype.kind == "f" else leaf

    return jax.tree.map(one, tree)


def check(got, want, tolerance=2e-5, least=1e-5):
    """Compare trees leaf by leaf, relative to the largest entry, or to `least`: some gradients are zero."""
    got, want = (jax.tree_util.tree_leaves_with_path(wide(tree)) for tree in (got, want))
    assert [path for path, _ in got] == [path for path, _ in want]
    for (path, g), (_, w) in zip(got, want, strict=True):
        assert g.shape == w.shape, jax.tree_util.keystr(path)
        atol = tolerance * max(np.abs(w).max(), least)
        # Not NumPy's own, which takes several times as long as computing what is compared.
        close = np.abs(g - w) <= atol + tolerance * np.abs(w)
        first = np.argmin(close)
        wrong = (
            f"{close.size - close.sum()} of {close.size} differ, first {np.ravel(g)[first]} from {np.ravel(w)[first]}"
        )
        assert close.all(), f"{jax.tree_util.keystr(path)}: {wrong}"


class Draw:
    """Arrays to compute with, whose last rows weigh more."""

    def __init__(self, rows, width):
        self.rng, self.rows, self.width = np.random.default_rng(rows + width), rows, width

    def normal(self, *shape):
        return self.rng.normal(size=shape).astype(np.float32)

    def vectors(self, count):
        return [1 + 0.1 * self.normal(self.width) for _ in range(count)]

    def weights(self):
        weights = self.rng.uniform(0.5, 2, size=self.rows)
        weights[-LAST:] *= 1000
        return weights.astype(np.float32)

    def gradient(self, *shape):
        gradient = self.normal(*shape)
        if shape:
            gradient[-LAST:] *= 1000
        return gradient

    def classes(self, count):
        return self.rng.integers(count, size=self.rows).astype(np.int32)


def layer_cases(draw):
    """For each layer its arguments, how many of them are differentiated, and more names for other kinds of targets."""
    rows, width = draw.rows, draw.width
    x, scores = draw.normal(rows, width), 2 * draw.normal(rows, width)
    weights, y, numbers = draw.weights(), draw.classes(width), draw.normal(rows, width)
    labels = (numbers > 0).astype(np.uint8)
    soft = draw.rng.dirichlet(np.ones(width), size=rows).astype(np.float32)
    return {
        "affine": ((x, draw.normal(width, 3), draw.normal(3)), 3),
        **dict.fromkeys(layers.ACTIVATIONS, ((scores,), 1)),
        "batchnorm": ((x, *draw.vectors(4)), 3),
        "batchnorm_test": ((x, *draw.vectors(4)), 3),
        "layernorm": ((x, *draw.vectors(2)), 3),
        "rmsnorm": ((x, *draw.vectors(1)), 2),
        "dropout": ((x, 0.75, numbers > -0.6), 1),
        "stochastic_depth": ((x, 0.75, numbers[:, 0] > -0.6), 1),
        "softmax_loss": ((scores, y, weights, 0.1), 1),
        "softmax_loss, soft targets": ((scores, soft, weights), 1),
        "softmax_loss, no weights": ((scores, y), 1),
        "svm_loss": ((scores, y, weights), 1),
        "sigmoid_loss": ((scores, labels, weights), 1),
        "squared_loss": ((scores, numbers, weights), 1),
        "huber_loss": ((scores, numbers, weights, 0.7), 1),
        "quantile_loss": ((draw.normal(rows, 2 * width), numbers, weights, QUANTILES), 1),
        "l2_penalty": ((x, 0.3), 1),
        "periodic": ((x, 0.1 * draw.normal(width, 2)), 2),
        "piecewise_linear": ((x, np.tile(np.float32([-1, 2]), (width, 1))), 1),
        "columnwise_affine": ((draw.normal(rows, width, 2), draw.normal(width, 2, 3), draw.normal(width, 3)), 3),
    }


def test_every_layer_is_here():
    pairs = {name.removesuffix("_backward") for name in layers.__all__ if name.endswith("_backward")}
    assert {name.partition(",")[0] for name in layer_cases(Draw(9, 3))} == pairs


@each_shape
def test_layers_forward_and_backward(rows, width):
    draw = Draw(rows, width)
    cases = layer_cases(draw)
    if width > 10:  # entry by entry, a width does not matter, and takes time
        cases = {name: case for name, case in cases.items() if name not in layers.ACTIVATIONS}
    inputs = {name: args[:count] for name, (args, count) in cases.items()}
    constants = {name: args[count:] for name, (args, count) in cases.items()}
    want, douts = {}, {}
    for name, (args, _) in cases.items():
        out, back = getattr(oracle, name.partition(",")[0])(*wide(args))
        douts[name] = draw.gradient(*np.shape(out[0] if name == "batchnorm" else out))
        want[name] = out, tuple(back(wide(douts[name])))

    @jax.jit
    def program(inputs, constants, douts):
        found = {}
        for name in cases:
            layer = getattr(layers, name.partition(",")[0])
            function = partial(lambda *args, layer, name: layer(*args, *constants[name]), layer=layer, name=name)
            if name == "batchnorm":
                out, back, running = jax.vjp(function, *inputs[name], has_aux=True)
                found[name] = (out, running), back(douts[name])
            else:
                out, back = jax.vjp(function, *inputs[name])
                found[name] = out, back(douts[name])
        return found

    check(program(inputs, constants, douts), want)


# ---------------------------------------------------------------------------------------------------
# Networks: products, sums over features and sums over rows in one program
# ---------------------------------------------------------------------------------------------------

TASKS = {
    "softmax": (Classification(label_smoothing=0.1), 3, partial(oracle.softmax_loss, label_smoothing=0.1)),
    "hinge": (Classification(criterion="hinge"), 3, oracle.svm_loss),
    "labels": (Multilabel(), 3, oracle.sigmoid_loss),
    "squared": (Regression(mean=np.float32([1, 2]), scale=np.float32([2, 0.5])), 2, oracle.squared_loss),
    "huber": (Regression(criterion="huber", delta=0.5), 1, partial(oracle.huber_loss, delta=0.5)),
    "quantile": (
        Regression(criterion="quantile", quantiles=QUANTILES),
        4,
        partial(oracle.quantile_loss, quantiles=QUANTILES),
    ),
}
NORMALIZATIONS = (None, "batchnorm", "layernorm", "rmsnorm")
SMOOTH = ("tanh", "gelu", "silu", "sigmoid")


def targets(draw, name, outputs):
    if name in ("softmax", "hinge"):
        return draw.classes(outputs)
    if name == "labels":
        return draw.rng.integers(2, size=(draw.rows, outputs)).astype(np.uint8)
    return draw.normal(draw.rows, outputs // 2 if name == "quantile" else outputs)


def standardized(task, y):
    return y if getattr(task, "mean", None) is None else (y - wide(task.mean)) / wide(task.scale)


def with_params(net, draw):
    """Parameters and statistics of which none is 0 or 1, and activations of order 1."""

    def one(leaf):
        return (draw.normal(*leaf.shape) / np.sqrt(leaf.shape[0])).astype(leaf.dtype)

    params, stats = jax.tree.map(one, jax.eval_shape(net.init, jax.random.key(0)))
    return params, jax.tree.map(lambda leaf: 1 + np.abs(leaf), stats)


def cases(draw, hidden):
    """For each task a network, its parameters and statistics, the task, targets, and the loss as an oracle."""
    for number, (name, (task, outputs, loss)) in enumerate(TASKS.items()):
        kind = (number + draw.width) % 4
        options = {"normalization": NORMALIZATIONS[kind], "activation": SMOOTH[kind]}
        net = jaxfc.FCNet(draw.width, hidden, outputs, reg=0.01, norm_eps=1e-5, **options)
        yield name, net, *with_params(net, draw), task, targets(draw, name, outputs), loss


def network_oracle(case, x, weights):
    """Loss and gradients in training mode; predictions and score in test mode."""
    name, net, params, stats, task, y, loss = case
    params, stats, x, weights = wide((params, stats, x, weights))
    kind = {"normalization": net.normalization, "activation": net.activation}
    outputs, back = oracle.fcnet(params, x, **kind)
    value, dout = loss(outputs, standardized(task, y), weights)
    grads = back(*dout(1.0))
    for layer, into in zip(params, grads, strict=True):
        term, dw = oracle.l2_penalty(layer["w"], 0.01)
        value, into["w"] = value + term, into["w"] + dw(1.0)[0]
    outputs, _ = oracle.fcnet(params, x, **kind, stats=stats)
    predictions = decoded(name, task, outputs)
    return (value, grads), predictions, SCORES[name](predictions, y, weights)


ACCURACY, F1, R2 = (METRICS[name][-1] for name in ("accuracy", "multilabel_f1", "r2"))
SCORES = {"softmax": ACCURACY, "hinge": ACCURACY, "labels": F1, "squared": R2, "huber": R2}
SCORES["quantile"] = lambda predictions, y, weights: oracle.quantile_loss(predictions, y, weights, QUANTILES)[0]


def decoded(name, task, outputs):
    if name in ("softmax", "hinge"):
        return special.softmax(outputs, axis=1)
    if name == "labels":
        return special.expit(outputs)
    return outputs if task.mean is None else outputs * wide(task.scale) + wide(task.mean)


@pytest.mark.parametrize(
    ("rows", "width", "hidden"), [(*SHAPES[i], ()) for i in (0, 1, 3)] + [(*SHAPES[i], (7, 3)) for i in (1, 3, 4)]
)
def test_networks_losses_gradients_and_predictions(rows, width, hidden):
    draw = Draw(rows, width)
    x, weights, normalizer = draw.normal(rows, width), draw.weights(), jaxfc.Normalizer(*draw.vectors(2))
    chosen = {case[0]: case for case in cases(draw, hidden)}

    @jax.jit
    def program(arguments, normalizer, x, weights):
        found = {}
        for name, (net, params, stats, task, y) in arguments.items():
            gradient = jax.value_and_grad(objective.loss, argnums=1, has_aux=True)
            (value, _), grads = gradient(net, params, stats, normalizer(x), y, weights=weights, task=task)
            predictions = objective.predict_proba(net, params, stats, normalizer(x), task)
            # In chunks, as trainings and searches measure.
            score = task.score(objective.outputs_of(net, params, stats, normalizer, x), y, weights)
            found[name] = (value, grads), predictions, score
        return found

    got = program({name: case[1:-1] for name, case in chosen.items()}, normalizer, x, weights)
    normalized = (wide(x) - wide(normalizer.mean)) * wide(normalizer.scale)
    want = {name: network_oracle(case, normalized, weights) for name, case in chosen.items()}
    check(got, want, 1e-4, least=1e-2)


@pytest.mark.parametrize(("rows", "normalization"), [(2, None), (3, None), (3, "rmsnorm")])
def test_a_layer_of_many_features(rows, normalization):
    # Here it is the gradient by a layer's inputs, dy wᵀ, that is a product of 40,000 columns, summed over rows.
    draw = Draw(rows, 5)
    net = jaxfc.FCNet(5, (40_000, 3), 2, normalization=normalization, activation="tanh", norm_eps=1e-5)
    params, stats = with_params(net, draw)
    x, y, weights = draw.normal(rows, 5), draw.normal(rows, 2), 1 + draw.rng.uniform(size=rows).astype(np.float32)
    gradient = jax.jit(jax.value_and_grad(objective.loss, argnums=1, has_aux=True))
    (value, _), grads = gradient(net, params, stats, x, y, weights=weights, task=Regression())
    outputs, back = oracle.fcnet(wide(params), wide(x), normalization=normalization, activation="tanh")
    want, dout = oracle.squared_loss(outputs, wide(y), wide(weights))
    check((value, grads), (want, back(*dout(1.0))), 1e-4, least=1e-2)


@pytest.mark.filterwarnings("ignore:The y_prob values do not sum to one")  # but for their rounding to float32
@pytest.mark.parametrize("rows", [32_769, 65_537])
def test_metrics(rows):
    draw = Draw(rows, 3)
    drawn = {}
    for name, (_, make, _) in METRICS.items():
        p, y = make(draw.rng, 3, rows)
        if name.startswith("multilabel"):  # away from 0 and 1, which are clipped by the precision of their type
            p = p.clip(0.1, 0.9)
        drawn[name] = p.astype(np.float32)[-rows:], y[-rows:]
    weights = draw.weights()
    got = jax.jit(lambda drawn, weights: {name: METRICS[name][0](*drawn[name], weights) for name in METRICS})
    want = {name: METRICS[name][-1](*wide(drawn[name]), wide(weights)) for name in METRICS}
    check(got(drawn, weights), want, 1e-4, least=1e-2)


def test_a_models_predictions():
    draw = Draw(32_769, 7)
    x, normalizer = draw.normal(draw.rows, draw.width), jaxfc.Normalizer(*draw.vectors(2))
    normalized = (wide(x) - wide(normalizer.mean)) * wide(normalizer.scale)
    for name, net, params, stats, task, _, _ in cases(draw, (7, 3)):
        model = jaxfc.Model(net, *jax.device_put((params, stats)), normalizer, About(), task)
        kind = {"normalization": net.normalization, "activation": net.activation}
        outputs, _ = oracle.fcnet(wide(params), normalized, **kind, stats=wide(stats))
        check(model.prediction(x), decoded(name, task, outputs), 1e-4)


# ---------------------------------------------------------------------------------------------------
# Populations
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "rows", "hidden", "normalization"),
    [
        (3, 32_769, 7, "layernorm"),
        # The first layers of all members are one product, of members x hidden columns.
        (331, 3, 100, "batchnorm"),
        (331, 8, 100, "rmsnorm"),
    ],
)
def test_a_population(members, rows, hidden, normalization):
    draw = Draw(rows, 3)
    # Measured in three chunks of rows, for all members at once.
    x_val, y_val = draw.normal(2500, 3), draw.rng.integers(3, size=2500)
    x, y, weights = draw.normal(rows, 3), draw.classes(3), draw.weights()
    nets = [
        jaxfc.FCNet(3, (hidden,), 3, normalization=normalization, activation="tanh", reg=reg, norm_eps=1e-5)
        for reg in np.linspace(0, 0.1, members)
    ]
    net = stack(nets)
    tasks = stack([Classification(label_smoothing=0.1)] * members)
    states = stack([init_state(nets[0], sgd, jax.random.key(0), learning_rate=0.5)._replace(key=0)] * members)
    params = jax.tree.map(lambda leaf: leaf + (0.5 * draw.normal(*leaf.shape)).astype(leaf.dtype), states.params)
    keys = jax.random.split(jax.random.key(0), members)
    progress = jax.vmap(begin)(states._replace(params=params, key=keys))
    normalizer = jaxfc.Normalizer(np.zeros(3, np.float32), np.float32(1))
    data = DeviceData(normalizer, x, y, weights, x_val, y_val, None, None, keys[0])
    plans, numbers = np.arange(rows, dtype=np.int32)[None, None], map(np.int32, (1, 1, NEVER))
    arguments = (net, tasks, progress, data, plans, *numbers)
    progress, losses, measures = train_program(Recipe(sgd), *arguments, population=True)
    got = progress.state.params, losses[0, 0], measures.val_loss[0], measures.val[0]

    want = []
    for member in range(members):
        one = jax.tree.map(lambda leaf, member=member: wide(leaf)[member], params)
        want.append(trained(one, nets[member], *wide((x, y, weights)), *wide((x_val, y_val))))
    check(got, stack(want), 1e-4, least=1e-2)


def trained(params, net, x, y, weights, x_val, y_val):
    """Parameters after one step, its loss, and loss and accuracy on the validation rows."""
    kind = {"normalization": net.normalization, "activation": net.activation}
    outputs, back = oracle.fcnet(params, x, **kind)
    loss, dout = oracle.softmax_loss(outputs, y, weights, 0.1)
    grads = back(*dout(1.0))
    first = x @ params[0]["w"] + params[0]["b"]
    stats = [(0.1 * first.mean(axis=0), 0.9 + 0.1 * first.var(axis=0))] if net.normalization == "batchnorm" else ()
    for layer, into in zip(params, grads, strict=True):
        term, dw = oracle.l2_penalty(layer["w"], net.reg)
        loss, into["w"] = loss + term, into["w"] + dw(1.0)[0]
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    outputs, _ = oracle.fcnet(params, x_val, **kind, stats=stats)
    return params, loss, oracle.softmax_loss(outputs, y_val, None, 0.1)[0], np.mean(outputs.argmax(axis=1) == y_val)
