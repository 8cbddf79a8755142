"""Models as ONNX, against onnxruntime: the same numbers, whatever the network, the task and the size of the batch."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxfc
from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.predictor import About
from jaxfc.data import Normalizer
from jaxfc.data.columns import recognize
from jaxfc.data.encoder import Encoder
from jaxfc.networks.blocks import RunningStats

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.usefixtures("promotion")

FEATURES = 6


def drawn(tree, seed=0):
    """The same tree with every number drawn: so that none is 0 or 1 by chance; variances are positive."""
    key = jax.random.key(seed)
    leaves, structure = jax.tree.flatten(tree)
    made = [
        jax.random.uniform(jax.random.fold_in(key, i), leaf.shape, leaf.dtype, 0.2, 1.0) - 0.5
        for i, leaf in enumerate(leaves)
    ]
    tree = jax.tree.unflatten(structure, made)
    return jax.tree.map(
        lambda each: RunningStats(each.mean, each.var + 1) if isinstance(each, RunningStats) else each,
        tree,
        is_leaf=lambda each: isinstance(each, RunningStats),
    )


def model_of(net, task=None, seed=0, about=None):
    params, stats = drawn(jaxfc.init(net, jax.random.key(0)), seed)
    norm = Normalizer(np.linspace(-1, 1, FEATURES, dtype=np.float32), np.float32(0.5))
    classes = tuple(map(str, range(net.output_dim)))
    return jaxfc.Model(net, params, stats, norm, about or About(classes=classes), task or jaxfc.Classification())


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)


def session(model, path, dtype="float32"):
    model.to_onnx(path, dtype=dtype)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check(model, path, tolerance=1e-5):
    runtime = session(model, path)
    for count in (1, 5):
        x = rows(count)
        expected = model.prediction(x)
        (out,) = runtime.run(None, {"x": x})
        assert out.dtype == np.float32
        assert out.shape == expected.shape
        np.testing.assert_allclose(out, expected, atol=tolerance * max(1, np.abs(expected).max()))


@jaxfc.network
class Own:
    """A network that asks a primitive or two of whatever function it is given."""

    input_dim: int
    output_dim: int
    function: object

    def init(self, key):
        return jnp.ones((self.input_dim, self.output_dim)), ()

    def apply(self, params, stats, x, *, key=None, train=False):
        return jnp.tanh(self.function(x)) @ params, stats


REGRESSION = jaxfc.Regression(mean=np.float32([10, 20, 30]), scale=np.float32([2, 3, 4]))
LAYERS = [
    (None, "relu"),
    ("batchnorm", "leaky_relu"),
    ("layernorm", "gelu"),
    ("rmsnorm", "silu"),
    (None, "tanh"),
    (None, "sigmoid"),
]
MODELS = {
    f"{norm}-{activation}": model_of(jaxfc.FCNet(FEATURES, (5, 4), 3, normalization=norm, activation=activation))
    for norm, activation in LAYERS
}
MODELS["residual"] = model_of(jaxfc.ResidualNet(FEATURES, 4, 2, 3))
MODELS["labels"] = model_of(jaxfc.FCNet(FEATURES, (4,), 3), jaxfc.Multilabel())
MODELS["numbers"] = model_of(jaxfc.FCNet(FEATURES, (4,), 3), REGRESSION)
MEMBERS = [jaxfc.FCNet(FEATURES, dims, 3, normalization="batchnorm") for dims in ((4,), (4,), (5, 3))]
MODELS["ensemble"] = Ensemble.of([model_of(net, seed=seed) for seed, net in enumerate(MEMBERS)])


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_predicts_what_the_model_does(name, tmp_path):
    check(MODELS[name], tmp_path / "model.onnx")


def table(x):
    """What an encoder of a table's columns does: missing values, categories by number, dates, bins."""
    known = jnp.where(jnp.isnan(x), jnp.zeros_like(x), x)
    number = jnp.clip(jnp.floor(known[:, 1]).astype(jnp.int32), -1, 1) + 1
    embedded = jnp.arange(6, dtype=x.dtype).reshape(3, 2)[number]
    one_hot = (number[:, None] == jnp.arange(3)[None, :]).astype(x.dtype)
    clipped = known[:, :1] / jnp.sqrt(1 + jnp.square(known[:, :1]) / 9)
    return jnp.concatenate([embedded, one_hot[:, :2], clipped, jnp.isnan(x[:, 2:3]).astype(x.dtype)], axis=1)


def shapes(x):
    """Slices, padding, axes turned round and exchanged."""
    x = jnp.flip(jnp.pad(x[:, 1:5:2], ((0, 0), (1, 3)), constant_values=2.0), axis=1)
    return x.reshape(-1, 2, 3).transpose(0, 2, 1).reshape(-1, 6)


def gathers(x):
    """Columns by number, some of which are not there."""
    pairs = x[:, jnp.array([[3, 0], [1, 2], [5, 1]])].reshape(-1, 6)
    return pairs + jnp.take(x, jnp.array([0, 9, 1, 2, 3, 4]), axis=1, fill_value=0.5)


def places(x):
    """Of each row the entries at places of its own."""
    which = jnp.arange(6)[None, ::-1] * (x > 0).astype(jnp.int32)
    return jnp.take_along_axis(x, which, axis=1) * x.argmax(axis=1)[:, None].astype(x.dtype)


def reductions(x):
    """Every reduction."""
    kept = (x > 0).any(axis=1) & ~(x > 0).all(axis=1)
    return x * (x.min(axis=1) * kept + x.prod(axis=1) + x.argmin(axis=1))[:, None] + jnp.cumsum(x, axis=1)


def functions(x):
    """What is computed entry by entry."""
    return jnp.log1p(x**2) + jnp.expm1(-(x**4)) + jnp.sin(x) * lax.erf(x) + jnp.round(x) - jnp.sign(x) * jnp.exp2(x)


FUNCTIONS = {
    "table": table,
    "shapes": shapes,
    "gathers": gathers,
    "places": places,
    "reductions": reductions,
    "functions": functions,
    "remainders": lambda x: lax.rem(x, jnp.full_like(x, 0.3)) + jax.nn.softplus(x) + jnp.power(jnp.abs(x), 0.5),
    "logic": lambda x: jnp.where(((x > 0) & (x < 1)) | ~jnp.isfinite(x) ^ (x != 0), x, lax.clamp(-0.5, -x, 0.5)),
    "sizes": lambda x: x + jnp.arange(x.shape[0], dtype=x.dtype)[:, None] + jnp.ones(x.shape, x.dtype),
    "products": lambda x: jnp.einsum("bi,bj,jk->bik", x, x, jnp.eye(6, dtype=x.dtype)).sum(axis=1),
    "own gradient": jax.nn.relu6,
    "chosen by platform": lambda x: lax.platform_dependent(x, cpu=lambda x: x * 2, default=lambda x: x + x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_network_of_ones_own_predicts_the_same(name, tmp_path):
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        check(model_of(Own(FEATURES, 3, FUNCTIONS[name]), REGRESSION), tmp_path / "model.onnx")


TABLES = {
    "all kinds": {
        "size": [1.5, 2.0, None, 7.25, 3.5, 2.5] * 5,
        "colour": ["red", "blue", None, "red", "green", "blue"] * 5,
        "town": [f"town {i % 20}" for i in range(30)],
        "sold": [f"2020-0{1 + i % 9}-1{i % 7}" for i in range(30)],
    },
    "numbers alone": {"a": [0.5 * i**2 for i in range(30)], "b": [1 / (i + 1) for i in range(30)]},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_columns_are_encoded_inside(name, tmp_path):
    columns = recognize(TABLES[name])
    codes = columns.codes(TABLES[name])
    encoder = Encoder.fit(columns, codes)
    net = jaxfc.FCNet(encoder.num_inputs, (5,), 3)
    about = About(classes=("a", "b", "c"), columns=columns)
    model = jaxfc.Model(net, *drawn(jaxfc.init(net, jax.random.key(0))), encoder, about)
    runtime = session(model, tmp_path / "m.onnx")
    codes = np.concatenate([codes, codes[:1] + 99])  # categories never seen
    (out,) = runtime.run(None, {"x": codes})
    np.testing.assert_allclose(out, model.prediction(codes), atol=1e-5)
    said = json.loads(runtime.get_modelmeta().custom_metadata_map["columns"])
    assert [column["name"] for column in said["columns"]] == list(TABLES[name])


def test_missing_values_go_through(tmp_path):
    model = model_of(Own(FEATURES, 3, table), REGRESSION)
    x = rows(4)
    x[1, 0] = x[2, 2] = np.nan
    (out,) = session(model, tmp_path / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(out, model._predictions(x, None), rtol=1e-5)
    assert np.isfinite(out).all()


def test_images_may_be_bytes(tmp_path):
    model = MODELS["None-relu"]
    x = np.random.default_rng(0).integers(0, 255, (3, FEATURES)).astype(np.uint8)
    (out,) = session(model, tmp_path / "m.onnx", "uint8").run(None, {"x": x})
    np.testing.assert_allclose(out, model.prediction(x), atol=1e-5)


def test_a_bfloat16_network_computes_in_float32(tmp_path):
    net = jaxfc.FCNet(FEATURES, (5,), 3, normalization="layernorm", compute_dtype="bfloat16")
    check(model_of(net), tmp_path / "m.onnx", tolerance=0.01)


def test_the_file_says_what_it_predicts(tmp_path):
    about = About(classes=("cat", "dog", "owl"), feature_names=tuple("abcdef"))
    found = session(model_of(jaxfc.FCNet(FEATURES, (), 3), about=about), tmp_path / "m.onnx").get_modelmeta()
    said = {name: json.loads(value) for name, value in found.custom_metadata_map.items()}
    assert said == {"targets": "classes", "outputs": ["cat", "dog", "owl"], "feature_names": list("abcdef")}


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: jnp.sort(x), ValueError, "primitive sort"),
        (lambda x: lax.fori_loop(0, 3, lambda _, x: x + 1, x), ValueError, "primitive (scan|while)"),
        (lambda x: x * len(x), TypeError, r"write x.shape\[0\] for len"),
        (lambda x: lax.cond(x.sum() > 0, lambda x: x, jnp.negative, x), ValueError, "choose by jnp.where"),
    ],
)
def test_what_has_no_counterpart_is_refused(function, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        model_of(Own(FEATURES, 3, function)).to_onnx(tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_an_input_type_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'uint8'"):
        MODELS["labels"].to_onnx(tmp_path / "m.onnx", dtype="int8")
