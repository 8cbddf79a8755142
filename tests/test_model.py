"""A trained model: its predictions, and its file."""

import json

import chex
import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from jaxfc import Classification, FCNet, Model, Multilabel, Regression, ResidualNet, described, network, number
from jaxfc.artifacts import checkpoint
from jaxfc.artifacts.predictor import About
from jaxfc.data import Normalizer
from jaxfc.errors import FormatError, PrecisionError
from jaxfc.objective import ROWS

NORMALIZER = Normalizer(np.arange(6, dtype=np.float32), np.float32(0.1))


@pytest.fixture
def model():
    net = FCNet(6, (5,), 3, normalization="batchnorm", weight_scale=0.5, reg=0.1, dropout_keep_ratio=0.5)
    about = About("classes", ("a", "b", "c"), (2, 3), tuple("uvwxyz"), num_targets=3)
    return Model(net, *net.init(jax.random.key(0)), NORMALIZER, about, Classification(label_smoothing=0.1))


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


def squared(x):
    """An activation of a user's own."""
    return x**2


@network
class Linear:
    """A network of a user's own."""

    input_dim: int
    output_dim: int
    scale: float = number(0.1, low=0)

    def init(self, key):
        return self.scale * jax.random.normal(key, (self.input_dim, self.output_dim)), ()

    def apply(self, params, stats, x, *, key=None, train=False):
        return x @ params, stats


@described
class Rounded(Regression):
    """A task of a user's own."""

    def answer(self, prediction):
        return prediction.round()


FITTED = {"mean": np.float32([5, 7, 9]), "scale": np.float32([1, 2, 3])}


@pytest.mark.parametrize(
    ("net", "task", "about", "known"),
    [
        (FCNet(6, (5,), 3, normalization="batchnorm", reg=0.1), Classification(criterion="hinge"), {}, ()),
        (ResidualNet(6, 4, 2, 3, normalization="rmsnorm"), Multilabel(rank="auc"), {"targets": "labels"}, ()),
        (FCNet(6, (), 3), Regression(criterion="huber", delta=2.0, **FITTED), {"targets": "numbers"}, ()),
        (FCNet(6, (4,), 3, activation=squared), Rounded(**FITTED), {"targets": "numbers"}, (squared, Rounded)),
        (Linear(6, 3), Classification(), {"feature_names": tuple("uvwxyz")}, (Linear,)),
    ],
)
def test_a_saved_model_comes_back(tmp_path, x, net, task, about, known):
    names = {"targets": "classes", "num_targets": 3} | about
    names |= {"target_names": ("a", "b", "c")} if names["targets"] == "numbers" else {"classes": ("a", "b", "c")}
    model = Model(net, *net.init(jax.random.key(0)), NORMALIZER, About(**names), task)
    model.save(tmp_path / "m.safetensors")
    back = Model.load(tmp_path / "m.safetensors", known)
    chex.assert_trees_all_equal((back.params, back.stats), (model.params, model.stats))
    chex.assert_trees_all_equal((back.net, back.task), (model.net, model.task))
    assert back.about == model.about
    np.testing.assert_array_equal(back.prediction(x), model.prediction(x))
    np.testing.assert_array_equal(back.predict(x), model.predict(x))
    for missing in known:
        with pytest.raises(FormatError, match=rf"pass it in known=\[{missing.__name__}\]"):
            Model.load(tmp_path / "m.safetensors", [each for each in known if each is not missing])


def test_a_model_of_images_comes_back_with_all_that_is_known_of_it(tmp_path, model):
    model.save(tmp_path / "m.safetensors")
    back = Model.load(tmp_path / "m.safetensors")
    assert back.about == model.about
    assert (back.net, back.classes, back.image_shape, back.feature_names) == (
        model.net,
        ("a", "b", "c"),
        (2, 3),
        tuple("uvwxyz"),
    )


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
    assert model.evaluate(x, predicted)["acc"] == 1
    y, weights = np.where(np.arange(7) < 2, predicted, (predicted + 1) % 3), np.float32([3, 3, 1, 1, 1, 1, 0])
    np.testing.assert_allclose(model.evaluate(x, y, weights)["acc"], 0.6)


def test_metrics_asked_for_are_those_of_all_and_only_they_are_measured(model, x):
    y = np.arange(7) % 3
    every = model.evaluate(x, y)
    assert model.evaluate(x, y, metrics=["f1", "acc"]) == {"f1": every["f1"], "acc": every["acc"]}
    with pytest.raises(ValueError, match="unknown metric of Classification 'accc': did you mean 'acc'"):
        model.evaluate(x, y, metrics=["accc"])


def test_predictions_are_in_the_targets_own_units(x):
    net, task = FCNet(6, (), 3), Regression(**FITTED)
    model = Model(net, *net.init(jax.random.key(0)), NORMALIZER, About("numbers", num_targets=3), task)
    outputs = (x - NORMALIZER.mean) * NORMALIZER.scale @ np.asarray(model.params[0]["w"])
    np.testing.assert_allclose(model.prediction(x), outputs * FITTED["scale"] + FITTED["mean"], rtol=1e-4)
    assert model.evaluate(x, model.prediction(x))["rmse"] == 0
    with pytest.raises(ValueError, match=r"accuracy is for classes; this model predicts numbers: use evaluate"):
        model.accuracy(x, np.zeros(7, int))


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
        normalizer = Normalizer(np.zeros(4, np.float32), np.float32(1))
        model = Model(net, *net.init(jax.random.key(0)), normalizer, About(classes=("a", "b")))
        model.save(tmp_path / "m.safetensors")
        Model.load(tmp_path / "m.safetensors")
    with pytest.raises(PrecisionError, match="jax_enable_x64"):
        Model.load(tmp_path / "m.safetensors")


def test_a_damaged_model_file_is_named(tmp_path, model):
    path = tmp_path / "m.safetensors"
    model.save(path)
    tensors, metadata = checkpoint.read(path, kind="jaxfc model")
    # Without checksums: with them every change is noticed before it is looked at.
    metadata = {name: text for name, text in metadata.items() if name not in (checkpoint.CHECKSUMS, checkpoint.CHECKED)}
    changes = [{"net": "{"}, {"net": "[]"}, {"net": '{"type": "FCNet", "input_dim": 0}'}, {"task": "3"}]
    for change in (*changes, {"classes": "3"}, {"image_shape": "7"}):
        safetensors.numpy.save_file(tensors, path, metadata | change)
        with pytest.raises(FormatError, match="no usable model"):
            Model.load(path)
    tensors.pop("layers.0.b")
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(FormatError, match=r"lacks layers\.0\.b"):
        Model.load(path)
