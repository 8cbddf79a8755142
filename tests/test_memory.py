"""How much memory there is to take, and what a training needs of it."""

import jax
import numpy as np
import pytest

import jaxfc
from jaxfc import memory, optim
from jaxfc.errors import OutOfMemoryError
from jaxfc.training.needs import check_held, slots, training_bytes
from jaxfc.training.runs import train
from jaxfc.training.settings import RunSettings

V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def group(folder, names, limit, used, reclaimable=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (limit, used, f"cache 7\n{names[2]} {reclaimable}"), strict=True):
        (folder / (name if name != names[2] else "memory.stat")).write_text(f"{value}\n")


@pytest.mark.parametrize(("names", "controller"), [(V2, ""), (V1, "memory")], ids=["version 2", "version 1"])
def test_each_control_group_above_a_process_may_allow_less_than_the_machine_has(tmp_path, names, controller):
    process = tmp_path / "cgroup"
    process.write_text(f"3:cpu,cpuacct:/other\n1:{controller}:/batch/job\n")
    root = tmp_path / "groups"
    assert memory.in_control_groups(root, process) == []
    group(root / controller, names, 9000, 1000)
    group(root / controller / "batch" / "job", names, 3000, 2500, reclaimable=500)
    group(root / controller / "other", names, 5, 0)
    assert memory.in_control_groups(root, process) == [1000, 8000]
    group(root / controller / "batch" / "job", names, "max" if names is V2 else 2**63 - 4096, 2500)
    assert min(memory.in_control_groups(root, process)) == 8000
    assert 8000 in memory.in_control_groups(root, tmp_path / "absent")  # without a list, the group at the root


def test_a_limit_of_the_shell_is_respected(monkeypatch):
    import resource

    import psutil

    assert memory.under_limits() == []
    used = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda which: (used + 10**9, used + 10**9))
    (left,) = memory.under_limits()
    assert 0.5e9 < left < 1.5e9
    assert memory.free_bytes() <= left + 10**8
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1, 1))
    assert memory.free_bytes() == 0


def test_an_accelerator_says_itself_what_is_free():
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 2 * 10**9, "bytes_in_use": 5 * 10**8}

    assert memory.free_bytes(Device()) == 15 * 10**8
    memory.check_memory("this", 10**9, "less", Device())
    with pytest.raises(OutOfMemoryError, match=r"this needs about 2 GB of memory where 1\.5 GB are free: take less"):
        memory.check_memory("this", 2 * 10**9, "take less", Device())


RULES = {
    "sgd": (optim.sgd, {}),
    "adam": (optim.adam, {}),
    "muon": (optim.muon, {}),
    "averaged": (optim.Averaged(optim.Clipped(optim.sgd_momentum)), {"decay": 0.9, "max_norm": 1.0}),
}


@pytest.mark.parametrize("name", RULES)
def test_what_a_training_needs_is_what_its_state_takes(name):
    rule, hyper = RULES[name]
    net, data = jaxfc.FCNet(64, (300, 300), 10, normalization="layernorm"), jaxfc.load("digits")
    state = jaxfc.init_state(net, rule, jax.random.key(0), **hyper)
    params, slots_held = (
        sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) for tree in (state.params, state.opt_state)
    )
    needs = training_bytes(net, rule, hyper, RunSettings(), data)
    assert needs["parameters"] == params
    np.testing.assert_allclose(needs["slots of the rule"], slots_held, rtol=0.03, atol=100)
    assert needs["data"] == sum(each.nbytes for each in (data.x_train, data.y_train, data.x_val, data.y_val))
    twice = training_bytes(net, rule, hyper, RunSettings(), data, members=2)
    assert all(twice[part] == (1 if part == "data" else 2) * needs[part] for part in needs)


def test_a_rule_that_looks_at_names_is_taken_to_keep_two_numbers():
    grouped = optim.Grouped({"a": optim.sgd}, lambda path, leaf: {"layers": "a"}[path])
    assert slots(grouped, {}) == 2


def test_a_training_that_cannot_be_had_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    config = jaxfc.TrainConfig(hidden=(1000, 1000), epochs=1)
    monkeypatch.setattr(memory, "in_control_groups", lambda: [2 * 10**7])
    with pytest.raises(OutOfMemoryError, match=r"needs about \d+\.?\d* MB of memory \(.*the best parameters 8\.\d+ MB"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_numbers_that_float64_holds_are_for_float64_networks(x64):
    check_held(jaxfc.FCNet(4, (), 3, param_dtype="float64", reg=1e39), {"learning_rate": 1e-60})
    check_held(jaxfc.FCNet(4, (), 3, param_dtype="float64", reg=1e39), jaxfc.FCNet(4, (), 3, reg=1e39))
    with pytest.raises(ValueError, match=r"learning_rate=1e\+39 must be 0 or from 1\.2e-38 to 3\.4e\+38"):
        check_held(jaxfc.FCNet(4, (), 3), {"learning_rate": 1e39})
