"""Data sets of codes with missing values: trained on, searched, kept in files, and gone on with."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from test_encoder import table

import jaxfc
from jaxfc import search
from jaxfc.data import Dataset, Encoder, recognize


@pytest.fixture(scope="module")
def data():
    raw = table()
    columns = recognize(raw)
    codes = columns.codes(raw)
    y = (np.nan_to_num(raw["size"]) + raw["old"] > 1.2).astype(np.int32)
    fit = partial(Encoder.fit, columns)
    splits = (codes[:240], y[:240], codes[240:], y[240:], None, None)
    return Dataset("sales", *splits, ("no", "yes"), fit(codes[:240]), columns=columns, fit_normalizer=fit)


@pytest.fixture(scope="module")
def result(data):
    return jaxfc.fit(jaxfc.FCNet(data.num_inputs, (16,), 2), "adam", data, epochs=12, verbose=False, **RATE)


RATE = {"hyper": {"learning_rate": 1e-2}}


def test_the_encoded_width_is_the_networks(data):
    assert (data.num_features, data.num_inputs) == (7, data.normalizer.num_inputs)
    assert jaxfc.TrainConfig().net(data).input_dim == data.num_inputs > 40
    with pytest.raises(ValueError, match=r"takes 7 features and 'sales' has 7, encoded as 43 inputs \(num_inputs\)"):
        jaxfc.fit(jaxfc.FCNet(data.num_features, (), 2), "adam", data)


def test_missing_values_are_for_encodings_that_take_them(data):
    from jaxfc.data import Normalizer

    plain = Normalizer(np.zeros(7, np.float32), np.float32(1))
    with pytest.raises(ValueError, match="is nan: remove or fill missing and infinite values"):
        dataclasses.replace(data, normalizer=plain)
    endless = data.x_train.copy()
    endless[2, 0] = np.inf
    with pytest.raises(ValueError, match=r"x\[2, 0\] is inf"):
        dataclasses.replace(data, x_train=endless)


def test_a_model_takes_codes_and_is_the_same_from_its_file(data, result, tmp_path):
    model = result.model(data)
    x, y = data.split("val")
    assert np.isnan(x).any()
    assert model.accuracy(x, y) > 0.85
    z = np.asarray(data.normalizer(x))
    outputs, _ = result.model(data).net.apply(model.params, model.stats, z)
    np.testing.assert_allclose(model.predict_proba(x), jax.nn.softmax(outputs), atol=1e-5)
    model.save(tmp_path / "m.safetensors")
    again = jaxfc.Model.load(tmp_path / "m.safetensors")
    assert again.about.columns == data.columns
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    later = table(seed=2, rows=20)
    np.testing.assert_array_equal(
        again.predict(again.about.columns.codes(later)), model.predict(data.columns.codes(later))
    )
    with pytest.raises(ValueError, match=r"x has shape \(60, 6\); it must be \(rows, 7\)"):
        again.predict(x[:, 1:])


def test_a_search_on_folds_joins_models_with_encoders_of_their_own(data, tmp_path):
    settings = [{"learning_rate": 1e-2}, {"learning_rate": 3e-3}]
    found = search.run(data, jaxfc.TrainConfig(hidden=(8,), epochs=3), settings, keep=2, folds=3)
    fitted = data.fit_normalizer(data.x_train[found.folds[1].rows])
    np.testing.assert_array_equal(found.folds[1].normalizer.center, fitted.center)
    ensemble = found.ensemble(2)
    assert ensemble.num_members == 6
    ensemble.save(tmp_path / "e.safetensors")
    again = jaxfc.Ensemble.load(tmp_path / "e.safetensors")
    x = data.x_val
    np.testing.assert_array_equal(again.predict_proba(x), ensemble.predict_proba(x))
    mean = np.mean([model.predict_proba(x) for number in (0, 1) for model in found._models(number)], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(x), mean, atol=1e-5)


def test_a_run_gone_on_with_reaches_the_same_bits_and_other_codes_are_noticed(data, result, tmp_path):
    net, path = result.model(data).net, tmp_path / "run"
    jaxfc.fit(net, "adam", data, epochs=6, verbose=False, checkpoint=path, **RATE)
    on = {"checkpoint": path, "resume": True, "extend": True, "verbose": False, **RATE}
    second = jaxfc.fit(net, "adam", data, epochs=12, **on)
    for ours, theirs in zip(jax.tree.leaves(second.params), jax.tree.leaves(result.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    names = [dataclasses.replace(c, name=f"{c.name} or so") for c in data.columns.columns]
    other = dataclasses.replace(data, columns=dataclasses.replace(data.columns, columns=tuple(names)))
    assert other.fingerprint() != data.fingerprint()
    with pytest.raises(ValueError, match="data"):
        jaxfc.fit(net, "adam", other, epochs=24, **on)
