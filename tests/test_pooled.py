"""Means over squares of pixels in place of images: their numbers, and all that a model of them goes through."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from command import FAST, done, fails, write_table
from command import jaxfc as command

import jaxfc
from jaxfc import FCNet, Model, init, load
from jaxfc.data import Dataset, Normalizer, Pooled, centred, standardized


def naive_means(images, side):
    """A loop over squares, in float64."""
    *_, height, width = images.shape
    out = np.zeros((*images.shape[:-2], height // side, width // side))
    for i in range(height // side):
        for j in range(width // side):
            square = images[..., side * i : side * (i + 1), side * j : side * (j + 1)]
            out[..., i, j] = square.astype(np.float64).mean(axis=(-2, -1))
    return out


def images_of(shape, rows=9, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, size=(rows, int(np.prod(shape)))).astype(np.uint8)
    y = np.arange(rows) % 2
    return Dataset("squares", x, y, x, y, x, y, ("a", "b"), centred(x), image_shape=shape, fit_normalizer=centred)


@pytest.mark.parametrize(("shape", "side"), [((4, 6), 2), ((3, 8, 4), 4), ((1, 9, 3), 3), ((3, 2, 2), 2), ((2, 2), 1)])
def test_inputs_are_the_means_of_normalized_pixels(shape, side):
    plain = images_of(shape, seed=side)
    data = plain.pooled(side)
    normalized = np.asarray(plain.normalizer(plain.x_train)).reshape(-1, *shape)
    means = np.asarray(data.normalizer(data.x_train))
    assert means.shape == (9, data.num_inputs)
    np.testing.assert_allclose(means, naive_means(normalized, side).reshape(9, -1), atol=2e-5)
    # A fold's means are of a normalizer that is fitted to its own rows.
    fold = data.take(np.arange(4), np.arange(4, 9))
    np.testing.assert_allclose(np.asarray(fold.normalizer(fold.x_train)).mean(axis=0), 0, atol=1e-4)


def test_sums_are_not_rounded_where_the_network_computes_in_bfloat16():
    data = images_of((4, 4)).pooled(2)
    wide, narrow = data.normalizer(data.x_train), data.normalizer(data.x_train, "bfloat16")
    assert narrow.dtype == "bfloat16"
    np.testing.assert_array_equal(narrow, wide.astype("bfloat16"))


def test_the_same_network_on_all_pixels_has_each_weight_at_every_pixel_of_its_square():
    plain = images_of((3, 4, 6))
    data = plain.pooled(2)
    net = FCNet(data.num_inputs, (5,), 2, normalization="batchnorm")
    params, stats = init(net, jax.random.key(0))
    coarse = np.asarray(params[0]["w"]).reshape(3, 2, 3, 5)
    fine = np.repeat(np.repeat(coarse, 2, axis=1), 2, axis=2).reshape(72, 5) / 4
    spread = [{**params[0], "w": jax.numpy.asarray(fine)}, *params[1:]]
    on_means = Model.of(net, params, stats, data).prediction(data.x_train)
    on_pixels = Model.of(replace(net, input_dim=72), spread, stats, plain).prediction(data.x_train)
    np.testing.assert_allclose(on_pixels, on_means, rtol=2e-4)


def test_what_cannot_be_pooled_is_named():
    data = images_of((4, 6))
    with pytest.raises(ValueError, match="pool=4: squares of 4 x 4 do not fill images of 4 x 6: use a whole number"):
        data.pooled(4)
    with pytest.raises(ValueError, match="pool=0 must be"):
        data.pooled(0)
    with pytest.raises(ValueError, match="the inputs of 'squares' are of a Pooled already"):
        data.pooled(2).pooled(2)
    table = replace(data, image_shape=None)
    with pytest.raises(ValueError, match="pool=2 needs images, and the rows of 'squares' are none"):
        table.pooled(2)
    with pytest.raises(ValueError, match=r"pool=2: 'squares' is not pooled: give data.pooled\(2\)"):
        jaxfc.TrainConfig(pool=2).build(data, 9)


def test_data_that_are_pooled_otherwise_are_other_data():
    data = images_of((4, 4))
    assert len({each.fingerprint() for each in (data, data.pooled(2), data.pooled(4))}) == 3
    assert isinstance(data.pooled(1).normalizer, Normalizer)


def as_float64(x):
    return Normalizer(x.mean(axis=0), np.float64(0.5))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("pooled") / "run"
    done("train", "--pool", "2", "--augment", "shift:1", *FAST, "--out", out)
    return out


def test_a_model_of_means_is_kept_and_predicts_rows_of_pixels(run, tmp_path):
    data = load("digits")
    model = Model.load(run / "model.safetensors")
    assert isinstance(model.normalizer, Pooled)
    assert (model.num_features, model.net.input_dim, model.input_shape) == (64, 16, (4, 4))
    before = model.prediction(data.x_test)
    model.save(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(Model.load(tmp_path / "again.safetensors").prediction(data.x_test), before)
    ensemble = jaxfc.Ensemble.of([model, model])
    ensemble.save(tmp_path / "two.safetensors")
    np.testing.assert_allclose(jaxfc.Ensemble.load(tmp_path / "two.safetensors").prediction(data.x_test), before, 1e-5)


@pytest.mark.parametrize("scaled", [partial(standardized, per_feature=True), as_float64])
def test_files_keep_means_of_whatever_normalizer(scaled, tmp_path):
    plain = images_of((4, 4))
    data = replace(plain, normalizer=scaled(plain.x_train)).pooled(2)
    net = FCNet(data.num_inputs, (), 2)
    models = [Model.of(net, *init(net, jax.random.key(seed)), data) for seed in (0, 1)]
    for kind, made in (("one", models[0]), ("both", jaxfc.Ensemble.of(models))):
        made.save(tmp_path / f"{kind}.safetensors")
        again = type(made).load(tmp_path / f"{kind}.safetensors")
        np.testing.assert_array_equal(again.prediction(plain.x_val), made.prediction(plain.x_val))


def test_a_model_of_means_leaves_for_torch_and_jax(run):
    torch = pytest.importorskip("torch")
    x = load("digits").x_test[:7]
    model = Model.load(run / "model.safetensors")
    with torch.no_grad():
        np.testing.assert_allclose(model.to_torch()(torch.tensor(x)), model.prediction(x), atol=1e-5)
    np.testing.assert_allclose(
        jax.export.deserialize(model.export()).call(np.float32(x)), model.prediction(x), atol=1e-5
    )


def test_a_run_on_means_is_gone_on_with_by_its_own_settings(run, capfd):
    code, out, _ = command(capfd, "train", "--resume", "--extend", "3", "--out", run)
    assert code == 0
    assert any("extended to 3 epochs" in line for line in out)
    assert "begun with pool=2, not 4: leave --pool out" in fails(
        capfd, "train", "--resume", "--pool", "4", "--out", run
    )


def test_a_search_trains_on_means(tmp_path):
    flags = ["--pool", "4", "--learning-rate=loguniform:1e-3:1e-2", "--trials", "2", *FAST]
    done("search", *flags, "--out", tmp_path / "search")
    assert Model.load(tmp_path / "search" / "model.safetensors").net.input_dim == 4
    assert (tmp_path / "search" / "weights.png").is_file()


def test_what_cannot_be_pooled_takes_one_line_of_the_command(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "table.csv")
    assert "pool=2 needs images" in fails(capfd, "train", "--data", "table.csv", "--label", "side", "--pool", "2")
    assert "pool=3: squares of 3 x 3 do not fill images of 8 x 8" in fails(capfd, "train", "--pool", "3")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
