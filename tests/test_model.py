"""A trained model: its predictions, and its file."""

import json

import chex
import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jaxfc import network
from jaxfc.data import Normalizer
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.model import ROWS, Model
from jaxfc.network import FCNet


@pytest.fixture
def model():
    net = FCNet(6, (5,), 3, normalization="batchnorm", weight_scale=0.5, reg=0.1, dropout_keep_ratio=0.5)
    params, stats = network.init(net, jax.random.key(0))
    normalizer = Normalizer(np.arange(6, dtype=np.float32), np.float32(0.1))
    return Model(net, params, stats, normalizer, ("a", "b", "c"), (2, 3), tuple("uvwxyz"))


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 256, (7, 6)).astype(np.uint8)


def numpy_probabilities(tensors, x):
    """The documented layout, and nothing else, is enough to use a model file elsewhere."""
    x = (x - tensors["normalizer.mean"]) * tensors["normalizer.scale"]
    x = x @ tensors["layers.0.w"] + tensors["layers.0.b"]
    x = (x - tensors["stats.0.mean"]) / np.sqrt(tensors["stats.0.var"] + 1e-5)
    x = np.maximum(x * tensors["layers.0.gamma"] + tensors["layers.0.beta"], 0)
    scores = x @ tensors["layers.1.w"] + tensors["layers.1.b"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_a_saved_model_comes_back(tmp_path, model, x):
    model.save(tmp_path / "m.safetensors")
    back = Model.load(tmp_path / "m.safetensors")
    chex.assert_trees_all_equal(back.params, model.params)
    assert (back.net, back.classes, back.image_shape, back.feature_names) == (
        model.net,
        model.classes,
        model.image_shape,
        model.feature_names,
    )
    np.testing.assert_array_equal(back.predict_proba(x), model.predict_proba(x))


def test_a_model_file_is_usable_without_this_library(tmp_path, model, x):
    model.save(tmp_path / "m.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    np.testing.assert_allclose(numpy_probabilities(tensors, x), model.predict_proba(x), rtol=1e-4, atol=1e-6)
    with safetensors.safe_open(tmp_path / "m.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["classes"]) == ["a", "b", "c"]


def test_predictions_in_chunks_equal_those_at_once(model):
    x = np.random.default_rng(1).normal(size=(2 * ROWS + 5, 6)).astype(np.float32) * 50
    together = model.predict_proba(x)
    assert together.shape == (2 * ROWS + 5, 3)
    np.testing.assert_allclose(together[-9:], model.predict_proba(x[-9:]), rtol=1e-4, atol=1e-6)


def test_accuracy(model, x):
    predicted = model.predict(x)
    assert model.accuracy(x, predicted) == 1
    assert model.accuracy(x, (predicted + 1) % 3) == 0


def test_bad_inputs_are_named(model, x):
    with pytest.raises(ValueError, match=r"inputs: x has shape \(7, 5\); it must be \(rows, 6\)"):
        model.predict(x[:, :5])
    with pytest.raises(ValueError, match=r"x\[0, 0\] is nan"):
        model.predict(np.full((1, 6), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"y\[6\] is 3; labels must lie in \[0, 3\)"):
        model.accuracy(x, np.array([0, 1, 2, 0, 1, 2, 3]))


def test_a_float64_model_says_that_it_needs_64_bit_mode(tmp_path):
    net = FCNet(4, (3,), 2, param_dtype="float64")
    with jax.enable_x64(True):
        params, stats = network.init(net, jax.random.key(0))
        model = Model(net, params, stats, Normalizer(np.zeros(4, np.float32), np.float32(1)), ("a", "b"))
        model.save(tmp_path / "m.safetensors")
        Model.load(tmp_path / "m.safetensors")
    with pytest.raises(PrecisionError, match="jax_enable_x64"):
        Model.load(tmp_path / "m.safetensors")


def test_a_damaged_model_file_is_named(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for change in ({"net": "{"}, {"net": "[]"}, {"net": '{"input_dim": 0}'}, {"classes": "3"}):
        safetensors.numpy.save_file(tensors, path, metadata | change)
        with pytest.raises(FormatError, match="no usable model"):
            Model.load(path)
    tensors.pop("layers.0.b")
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(FormatError, match=r"lacks layers\.0\.b"):
        Model.load(path)
