"""Searches over widths and depths: one program for all sizes, and whoever looks at the result sees plain networks."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from searches import CONFIG, curves, digits, fit

import jaxfc
from jaxfc import search
from jaxfc.networks import FCNet
from jaxfc.search import chunks, loop
from jaxfc.search.config import SearchConfig

SIZES = [(8,), (6, 5), (3, 4, 5)]
# Of both kinds of initial scale, with all that a width may get into.
CANDIDATES = [
    {"hidden": hidden, "learning_rate": rate, "weight_scale": scale, "seed": seed}
    for seed, (hidden, rate, scale) in enumerate(
        zip(SIZES * 2, [1e-2, 3e-2, 3e-3] * 2, ["he", 0.3, "glorot"] * 2, strict=True)
    )
]
# Not Adam: it makes steps of the rounding error that is the gradient of a bias before batchnorm.
WIDE = dataclasses.replace(
    CONFIG, update_rule="sgd_momentum", normalization="batchnorm", dropout_keep_ratio=0.8, reg=1e-3, ema_decay=0.5,
    clip_norm=5.0,
)  # fmt: skip
HALVED = {"method": search.Halving(), "keep": 3, "chunk": 4}


@pytest.fixture(scope="module")
def data():
    return digits()


@pytest.fixture(scope="module")
def found(data):
    return search.run(data, WIDE, CANDIDATES, keep=3)


def test_sizes_share_two_programs_and_each_candidate_is_the_training_that_fit_does(data, found):
    assert (found.groups, found.programs) == (1, 2)
    for trial in (found.trials[0], found.trials[2]):
        result = fit(data, trial.config)
        np.testing.assert_allclose(trial.curve, result.val_history[1:], atol=2.1 / len(data.x_val))
        np.testing.assert_allclose(trial.val_loss[0], result.val_loss_history[1:], rtol=2e-4)
        np.testing.assert_allclose(trial.loss[0], result.loss_history.reshape(3, -1).mean(axis=1), rtol=2e-4)


def test_a_result_holds_plain_networks(data, found, tmp_path):
    assert {type(each.net) for each in found.blueprints} == {FCNet}
    for number, (best,) in found.kept.items():
        net = found.blueprints[number].net
        shapes = jax.eval_shape(net.init, jax.random.key(0))
        for kept in ((best.params, best.stats), (best.raw, best.stats)):
            assert jax.tree.map(np.shape, kept) == jax.tree.map(np.shape, shapes)
    model = found.model()
    assert model.net.hidden_dims == found.best.settings["hidden"]
    assert model.accuracy(data.x_val, data.y_val) == pytest.approx(found.best.score, abs=1e-6)
    model.save(tmp_path / "m.safetensors")
    again = jaxfc.Model.load(tmp_path / "m.safetensors")
    assert again.net == model.net
    np.testing.assert_array_equal(again.predict_proba(data.x_test), model.predict_proba(data.x_test))
    assert found.ensemble(3).predict(data.x_test).shape == (len(data.x_test),)


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_search_of_several_sizes_goes_on_to_the_same_bits(data, tmp_path, monkeypatch, after):
    whole = search.run(data, WIDE, CANDIDATES, **HALVED)
    assert whole.programs == 2
    real, seen = loop._record, []

    def killed(*args):
        seen.append(args)
        if len(seen) > after:
            raise InterruptedError
        real(*args)

    monkeypatch.setattr(loop, "_record", killed)
    always = loop.Storage.save
    monkeypatch.setattr(loop.Storage, "save", lambda self, state, sometimes=False: always(self, state))
    with pytest.raises(InterruptedError):
        search.run(data, WIDE, CANDIDATES, **HALVED, checkpoint=tmp_path / "c")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="its padded networks differ"):
        search.run(data, WIDE, CANDIDATES, **HALVED, pad=False, checkpoint=tmp_path / "c", resume=True)
    resumed = search.run(data, WIDE, CANDIDATES, **HALVED, checkpoint=tmp_path / "c", resume=True)
    for a, b in zip(whole.trials, resumed.trials, strict=True):
        assert a.status == b.status
        np.testing.assert_array_equal(a.val, b.val)
        np.testing.assert_array_equal(a.loss, b.loss)
    jax.tree.map(np.testing.assert_array_equal, whole.kept, resumed.kept)
    # And a search that is over reads back the plain networks that it kept.
    again = search.run(data, WIDE, CANDIDATES, **HALVED, checkpoint=tmp_path / "c", resume=True)
    jax.tree.map(np.testing.assert_array_equal, whole.kept, again.kept)


def test_what_a_padded_network_takes_is_what_is_estimated(data):
    (padded,) = loop.lay_out(data, CONFIG, [{"hidden": (8, 64)}, {"hidden": (64, 8)}], pad=True).groups
    (largest,) = loop.lay_out(data, CONFIG, [{"hidden": (64, 64)}]).groups
    (small,) = loop.lay_out(data, CONFIG, [{"hidden": (8, 64)}]).groups
    takes = [chunks.member_bytes(group, len(data.x_val)) for group in (small, padded, largest)]
    assert takes[0] < takes[1]
    assert takes[1] == pytest.approx(takes[2], rel=0.2)


@pytest.mark.parametrize(
    ("config", "groups"), [({}, 1), ({"update_rule": "muon"}, 2), ({"epsilon": 0.0}, 2), ({"network": "residual"}, 2)]
)
def test_only_what_can_be_padded_is(data, config, groups):
    settings = [{"hidden": (8,)}, {"hidden": (6,)}]
    layout = loop.lay_out(data, dataclasses.replace(CONFIG, **config), settings, pad=True)
    assert len(layout.groups) == groups
    assert len(loop.lay_out(data, dataclasses.replace(CONFIG, **config), settings, pad=False).groups) == 2


def test_a_search_begun_before_there_was_padding_goes_on_without(tmp_path):
    config = SearchConfig(spaces={"hidden": "choice:8,6"})
    values = json.loads(config.to_json())
    assert values.pop("pad") is None
    (tmp_path / "search.json").write_text(json.dumps(values))
    assert SearchConfig.from_json(tmp_path / "search.json") == dataclasses.replace(config, pad=False)


def test_equal_candidates_are_equal_whatever_stands_beside_them(data, found):
    beside = search.run(data, WIDE, [*CANDIDATES[3:], *CANDIDATES[:3]])
    np.testing.assert_array_equal(curves(found), np.roll(curves(beside), 3, axis=0))
