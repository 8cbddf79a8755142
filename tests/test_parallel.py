"""Many devices: the same run on one, two and eight of them, what they send each other, and what each holds."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, Mesh

from jaxfc import FCNet, ResidualNet
from jaxfc.networks.contract import shapes
from jaxfc.parallel import AXES, mesh_of, share_shardings, spelled, whole_shardings

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """The answers of eight virtual devices."""
    folder = tmp_path_factory.mktemp("eight")
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, HERE / "on_eight_devices.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# ---------------------------------------------------------------------------------------------------
# The same run everywhere
# ---------------------------------------------------------------------------------------------------


def test_losses_are_the_same_on_one_two_and_eight_devices(eight):
    found = eight["float32"]
    assert found["steps"] >= 100
    assert max(found["losses"].values()) < 1e-6, found["losses"]
    assert all(found["best"].values())
    assert found["streamed"] == 0.0  # rows that stay on the host, and those on the devices: the same bits
    assert found["devices"] == 1  # whoever has the result need not know where it was trained


def test_all_that_draws_or_sees_a_whole_batch_is_the_same_with_rows_and_units_divided(eight):
    found = eight["float64"]
    assert found["losses"] < 1e-12
    assert found["averages"] < 1e-9  # after as many steps as the losses; small entries count like large ones
    assert found["stopped"] == ["patience", "patience", True]


def test_members_are_the_same_to_the_last_bit_wherever_they_are_trained(eight):
    assert eight["population"]["same"]
    assert eight["population"]["best"]
    assert eight["population"]["by default"] == 8


def test_predictions_are_the_same_on_any_number_of_devices(eight):
    assert max(eight["predictions"]["far"]) < 1e-5
    assert eight["predictions"]["measured"] < 1e-5


# ---------------------------------------------------------------------------------------------------
# What is sent, and what is held
# ---------------------------------------------------------------------------------------------------


def test_a_step_sums_its_gradients_once_gathers_its_parameters_once_and_two_vectors_for_a_batchnorm(eight):
    program = eight["program"]
    kinds = program["collectives"]
    assert not {kind for kind in kinds if not kind.startswith(("all-reduce", "reduce-scatter", "all-gather"))}
    summed = kinds.get("all-reduce step", []) + kinds.get("reduce-scatter step", [])
    numbers = sum(size for size in summed if size == 1)
    assert sum(summed) - numbers == program["gradients"] + 2 * 128
    assert numbers <= 3  # the loss and the penalty
    assert sum(kinds["all-gather step"]) == program["divided"]


def test_each_device_holds_an_eighth_of_parameters_and_slots(eight):
    program = eight["program"]
    assert program["shares"] == [8.0]
    assert program["matrices"] == 2 * 4  # of the parameters, of both of Adam's slots and of the best parameters
    assert program["bytes"] == pytest.approx(program["share_bytes"], rel=0.01)
    assert program["share_bytes"] < program["whole_bytes"] / 4


def test_members_send_each_other_nothing(eight):
    assert eight["population"]["programs"] == 2 * 4
    assert eight["population"]["collectives"] == []


# ---------------------------------------------------------------------------------------------------
# The command line
# ---------------------------------------------------------------------------------------------------


def test_commands_take_a_mesh(eight):
    for name in ("train", "evaluate", "resume"):
        code, out, err = eight["lines"][name]
        assert (code, err) == (0, []), name
        assert out
    assert "mesh: data=8" in eight["lines"]["train"][1]


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("devices", "mesh data=16 needs 16 devices, and there are 8: use fewer"),
        ("divide", "mesh data=3: 3 devices do not divide the 8 that there are"),
        ("axis", "unknown mesh axis 'rows': use one of: data, model, population"),
        ("number", "mesh data=two: need a number of devices from 1, or -1 for all that are left"),
        ("form", "mesh 'data': write AXIS=DEVICES, joined by commas: data=4,model=2"),
        ("batch", "mesh data=8 does not divide batch_size=20: use a batch of a multiple of 8"),
        ("parts", "mesh data=8 does not divide batch_size=16 in accumulate=4 parts: use a batch of a multiple of 32"),
        ("model", "mesh model=8 divides no layer of the network: use widths that are multiples of 8, or data"),
        ("use", "mesh population=8: the training of one network uses data and model only, not population"),
        ("chunk", "chunk=12: mesh population=8 does not divide it: use a multiple of 8"),
        ("search", "mesh data=8: a search uses population only, not data"),
        ("predict", "mesh model=2: a prediction uses data only, not model"),
    ],
)
def test_what_is_wrong_with_a_mesh_is_one_line(eight, mistake, line):
    code, _, err = eight["lines"][mistake]
    assert (code, err) == (2, [f"jaxfc: {line}"])


# ---------------------------------------------------------------------------------------------------
# Meshes and shardings, without devices
# ---------------------------------------------------------------------------------------------------


def test_a_mesh_has_all_axes_in_one_order():
    device = jax.devices()[0]
    for spec in (None, "data=1", {"model": 1}, "population=-1", Mesh(np.array([[device]]), ("model", "data"))):
        mesh = mesh_of(spec, [device])
        assert dict(mesh.shape) == dict.fromkeys(AXES, 1)
        assert spelled(mesh) == "data=1"
    turned = Mesh(np.arange(6).reshape(2, 3), ("model", "data"))
    assert mesh_of(turned).devices.squeeze().tolist() == turned.devices.T.tolist()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("data=-1,model=-1", "-1 may stand on one axis only"),
        ("data=1,data=1", "names an axis twice"),
        ({"data": True}, "data=True: need a number"),
        ("data=0", "data=0: need a number"),
        ("dta=1", "did you mean 'data'"),
        (Mesh(np.zeros(1), ("rows",)), "unknown mesh axis 'rows'"),
    ],
)
def test_what_is_no_mesh_is_named(spec, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mesh_of(spec)


@pytest.mark.parametrize("net", [FCNet(30, (64, 40), 10, normalization="batchnorm"), ResidualNet(30, 64, 2, 10)])
def test_units_lie_along_model_and_shares_along_data(net):
    mesh = AbstractMesh((4, 2, 1), AXES)
    params, stats = shapes(net)
    for tree, where in ((params, whole_shardings(mesh, net, params)), (stats, whole_shardings(mesh, net, stats))):
        for leaf, sharding in zip(jax.tree.leaves(tree), jax.tree.leaves(where), strict=True):
            whole = leaf.shape == (net.output_dim,)
            assert sharding.is_fully_replicated == whole, leaf.shape
            assert "data" not in sharding.spec
    for leaf, sharding in zip(
        jax.tree.leaves(params), jax.tree.leaves(share_shardings(mesh, net, params)), strict=True
    ):
        parts = leaf.size / np.prod(sharding.shard_shape(leaf.shape))
        assert parts == (8 if leaf.size > 1024 else 2 if leaf.shape != (net.output_dim,) else 1), leaf.shape
