"""Networks that embed a table's columns: their numbers, their bins, and all that is done with any network."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import naive
import numpy as np
import pytest

from jaxfc import Model, fit, load, search
from jaxfc.data import Dataset, Encoder, recognize
from jaxfc.networks import TableNet
from jaxfc.networks.tables import bin_edges
from jaxfc.training.config import TrainConfig

pytestmark = pytest.mark.usefixtures("promotion")
EVERY = [("periodic", "embed"), ("piecewise", "one-hot"), ("plain", "embed")]
CONFIG = TrainConfig(hidden=(16,), learning_rate=1e-2, epochs=15, batch_size=25)


@pytest.fixture(scope="module")
def data():
    """Three numbers, one with gaps, one of few values; a category of 11 values, and one of 2."""
    rng = np.random.default_rng(0)
    table = {
        "wave": rng.normal(size=200),
        "gaps": [None if i % 7 == 0 else i % 13 + 0.5 for i in range(200)],
        "step": rng.integers(3, size=200) + 0.5,
        "many": [f"k{i % 11}" for i in range(200)],
        "two": ["x", "y"] * 100,
    }
    columns = recognize(table, {"step": "number"})
    codes, y = columns.codes(table), (np.sin(5 * table["wave"]) > 0).astype(int)
    encoder = Encoder.fit(columns, codes[:150])
    return Dataset("t", codes[:150], y[:150], codes[150:], y[150:], None, None, ("n", "p"), encoder, columns=columns)


def config(numbers, categories):
    return dataclasses.replace(CONFIG, numbers=numbers, categories=categories)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("numbers", "categories"), EVERY)
def test_outputs_and_gradients_are_those_of_the_naive_twins(data, numbers, categories):
    net = dataclasses.replace(config(numbers, categories).net(data), param_dtype="float64")
    params, stats = net.init(jax.random.key(0))
    x = np.random.default_rng(1).normal(size=(5, data.num_inputs))
    which = np.array([0, 3, 3, 10, 5])
    x[:, 4:15] = np.eye(11)[which]  # behind three numbers and what says that one is missing: the category

    def twin(params):
        parts = [x[:, :3], x[:, 3:4], x[:, 4:15], x[:, 15:]]
        if numbers == "periodic":
            own = params["numbers"]
            made = naive.columnwise_affine(naive.periodic(x[:, :3], own["frequencies"]), own["w"], own["b"])
            parts[0] = jnp.concatenate([x[:, :3], jnp.maximum(made, 0).reshape(5, -1)], axis=1)
        if numbers == "piecewise":
            parts[0] = naive.piecewise_linear(x[:, :3], np.asarray(net.edges, np.float64)).reshape(5, -1)
        if categories == "embed":
            parts[2] = params["categories"][0][which]
        return naive.fcnet(params["body"], jnp.concatenate(parts, axis=1), normalization=None, activation="relu")

    for of in (lambda f: f, lambda f: jax.grad(lambda p: (f(p) ** 2).sum())):
        got, expected = jax.jit(lambda p, of=of: (of(lambda p: net.apply(p, stats, x)[0])(p), of(twin)(p)))(params)
        chex.assert_trees_all_close(got, expected, rtol=1e-9, atol=1e-12)


def test_bins_hold_as_many_training_rows_and_know_of_no_others(data):
    edges = bin_edges(data, bins=5)
    encoded = np.asarray(data.normalizer(data.x_train))[:, 0]
    np.testing.assert_allclose(np.histogram(encoded, edges[0])[0], 30, atol=1)
    assert (np.diff(edges[2]) == 0).any()  # three values, five bins
    other = dataclasses.replace(data, x_val=data.x_val * 9, w_train=np.r_[np.ones(100), np.zeros(50)])
    fewer = dataclasses.replace(data, x_train=data.x_train[:100], y_train=data.y_train[:100])
    np.testing.assert_array_equal(bin_edges(other), bin_edges(fewer))
    assert not np.array_equal(bin_edges(other), bin_edges(data))


@pytest.mark.parametrize(("numbers", "categories"), EVERY[:2])
def test_a_model_comes_back_from_its_file_and_goes_to_onnx(data, numbers, categories, tmp_path):
    net = config(numbers, categories).net(data)
    model = fit(net, "adam", data, hyper={"learning_rate": 1e-2}, epochs=15, batch_size=25, verbose=False).model(data)
    model.save(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors")
    rows = data.x_val.copy()
    rows[0] = np.nan
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))
    if numbers == "piecewise":
        assert model.accuracy(data.x_val, data.y_val) > 0.85  # of a wave that a plain network of this size misses
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    model.to_onnx(tmp_path / "m.onnx")
    (out,) = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": rows})
    np.testing.assert_allclose(out, model.prediction(rows), atol=1e-5)


def test_a_search_trains_a_population_as_fit_does(data):
    base = config("piecewise", "embed")
    found = search.run(data, base, [{"learning_rate": rate} for rate in (1e-3, 1e-2)], keep=2)
    best = found.trials[0]
    net, _, rule, hyper = best.config.build(data, 150)
    alone = fit(net, rule, data, hyper=hyper, epochs=15, batch_size=25, seed=best.config.seed, verbose=False)
    assert abs(alone.best_score - best.score) <= 0.02
    assert isinstance(found.model().net, TableNet)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"numbers": "perodic"}, "did you mean 'periodic'"),
        ({"categories": "embedd"}, "did you mean 'embed'"),
        ({"numbers": "periodic", "network": "residual"}, "only plain networks embed them"),
    ],
)
def test_bad_settings_are_named(data, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change).net(data)


def test_what_is_no_table_or_no_edges_is_named(data):
    with pytest.raises(ValueError, match="'digits' is no table of columns"):
        config("periodic", "one-hot").net(load("digits"))
    layout = data.normalizer.layout
    with pytest.raises(ValueError, match=r"edges have shape None; with numbers='piecewise' they must be \(3, bins"):
        TableNet(layout, (4,), 2, numbers="piecewise")
    with pytest.raises(ValueError, match=r"edges have shape \(3, 2\); with numbers='plain' they must be None"):
        TableNet(layout, (4,), 2, edges=np.zeros((3, 2), np.float32))


@pytest.mark.parametrize("numbers", ["periodic", "piecewise"])
def test_an_estimator_embeds_and_keeps_its_bins_where_it_goes_on(data, numbers):
    pytest.importorskip("sklearn")
    from jaxfc.sklearn import FCClassifier

    model = FCClassifier((8,), numbers=numbers, random_state=0)
    x = np.nan_to_num(data.x_train[:, :3])
    model.partial_fit(x, data.y_train, classes=[0, 1])
    first = model.model_.net
    model.partial_fit(2 * x, data.y_train)
    assert isinstance(first, TableNet)
    assert first.numbers == numbers
    np.testing.assert_array_equal(model.model_.net.edges, first.edges)
