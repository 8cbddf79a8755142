"""A checkpoint belongs to one run: whatever is not that run is told so, by the first thing in which it differs."""

import dataclasses
import shutil
import warnings

import numpy as np
import pytest
from examples import PLAIN, assert_same_bits, blobs, run

from jaxfc import Classification
from jaxfc.optim import Schedule, Scheduled, adam
from jaxfc.training import identity

ONE_BY_ONE = {"callbacks": [lambda report: None]}


@pytest.fixture(scope="module")
def data():
    return blobs()


@pytest.fixture(scope="module")
def begun(data, tmp_path_factory):
    """A run's checkpoint."""
    path = tmp_path_factory.mktemp("run") / "c.safetensors"
    run(data, PLAIN, checkpoint=path, **ONE_BY_ONE)
    return path


def changed_entry(data):
    x = data.x_train.copy()
    x[17, 2] += 1
    return dataclasses.replace(data, x_train=x)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"net": dataclasses.replace(PLAIN, hidden_dims=(9,))}, r"network\.hidden_dims=\[8\], not \[9\]"),
        ({"net": dataclasses.replace(PLAIN, activation="tanh")}, r"network\.activation='relu', not 'tanh'"),
        ({"net": dataclasses.replace(PLAIN, reg=0.1)}, r"network\.reg=None, not 0\.1"),
        ({"task": Classification(criterion="hinge")}, r"task\.criterion='softmax', not 'hinge'"),
        ({"task": Classification(label_smoothing=0.1)}, r"task\.label_smoothing=0\.0, not 0\.1"),
        ({"rule": "adamw"}, r"rule\.name='adam', not 'adamw'"),
        ({"hyper": {"learning_rate": 0.02}}, r"hyper\.learning_rate=0\.03, not 0\.02"),
        ({"hyper": {"learning_rate": 0.03, "beta1": 0.5}}, r"hyper\.beta1=None, not 0\.5"),
        ({"batch_size": 25}, r"settings\.batch_size=32, not 25"),
        ({"sampling": "replacement"}, r"settings\.sampling='shuffled', not 'replacement'"),
        ({"augment": ("noise:0.1",)}, r"settings\.augment=\[\], not \['noise:0\.1'\]"),
        ({"accumulate": 2}, r"settings\.accumulate=1, not 2"),
        ({"patience": 3}, r"settings\.patience=None, not 3"),
        ({"seed": 1}, r"settings\.seed=0, not 1"),
        ({"order_seed": 1}, r"settings\.order_seed=None, not 1"),
        ({"class_weight": "balanced"}, r"data\.fingerprint="),
        ({"data": changed_entry(blobs())}, r"data\.fingerprint="),
        ({"epochs": 6}, r"settings\.epochs=4, not 6; more epochs than first planned are trained with extend=True"),
    ],
)
def test_another_run_is_named_by_its_first_difference(data, begun, change, difference):
    before = begun.read_bytes()
    settings = {"data": data, "net": PLAIN} | change
    with pytest.raises(ValueError, match=rf"is of another run: it was begun with {difference}"):
        run(**settings, checkpoint=begun, resume=True, **ONE_BY_ONE)
    assert begun.read_bytes() == before


def test_another_version_is_only_warned_of(data, begun, monkeypatch):
    ours = identity.versions()
    monkeypatch.setattr(identity, "versions", lambda: ours | {"jax": "99.0"})
    with pytest.warns(
        UserWarning, match=rf"was begun with jax {ours['jax']}, this is 99\.0: the last digits may differ"
    ):
        result = run(data, PLAIN, checkpoint=begun, resume=True, **ONE_BY_ONE)
    assert len(result.val_history) == 5


def test_an_extended_run_is_one_planned_so(data, begun, tmp_path):
    path = shutil.copy(begun, tmp_path / "c")
    planned = run(data, PLAIN, epochs=6, **ONE_BY_ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extended = run(data, PLAIN, epochs=6, checkpoint=path, resume=True, extend=True, **ONE_BY_ONE)
    assert_same_bits(extended, planned)
    # Its checkpoint is that of the longer run from now on.
    again = run(data, PLAIN, epochs=6, checkpoint=path, resume=True, **ONE_BY_ONE)
    np.testing.assert_array_equal(again.val_history, planned.val_history)
    with pytest.raises(ValueError, match=r"settings\.seed=0, not 1"):
        run(data, PLAIN, epochs=8, seed=1, checkpoint=path, resume=True, extend=True, **ONE_BY_ONE)
    with pytest.raises(ValueError, match=r"epochs=5: extend=True only adds, and 6 epochs are trained"):
        run(data, PLAIN, epochs=5, checkpoint=path, resume=True, extend=True, **ONE_BY_ONE)


def test_an_extended_schedule_ends_with_the_extended_run(data, tmp_path):
    def train(epochs, **kwargs):
        hyper = {"learning_rate": 3e-2, "schedule": Schedule(total_steps=6 * epochs)}
        rule = Scheduled(adam, "cosine")
        return run(data, PLAIN, rule, hyper=hyper, epochs=epochs, checkpoint=tmp_path / "c", **kwargs, **ONE_BY_ONE)

    first = train(2)
    with pytest.raises(ValueError, match=r"it was begun with hyper\.schedule\.total_steps=12, not 24; more epochs"):
        train(4, resume=True)
    extended = train(4, resume=True, extend=True)
    assert int(extended.opt_state.schedule.total_steps) == 24
    np.testing.assert_array_equal(extended.val_history[:3], first.val_history)
    # The rate rises again, to what it is half-way of the longer run: the network moves on.
    assert np.abs(extended.params[0]["w"] - first.params[0]["w"]).max() > 0.01
