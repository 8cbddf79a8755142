"""Planning: the programs of runs compiled for TPUs that are not here, and what is read of compiled programs.

Nets are small: what is asked of a program (its number types, its exchanges, where its arrays are) does not depend on
their size, and a compiler's time does.
"""

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command import fails
from command import jaxfc as command

import jaxfc
from jaxfc import FCNet, TrainConfig, load
from jaxfc.cs231n import stretch
from jaxfc.cs231n.classifiers.fc_net import FullyConnectedNet
from jaxfc.cs231n.solver import Solver
from jaxfc.layers import precision
from jaxfc.layers.products import product, product_nt, product_tn
from jaxfc.planning import ahead, plan, plan_search, topologies, topology
from jaxfc.planning.chips import CHIPS
from jaxfc.planning.compiled import Text
from jaxfc.planning.products import product_flops
from jaxfc.planning.table import Report

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the TPU's compiler is not installed: pip install 'jaxfc[plan]'"
)
NET = FCNet(
    64, (256, 128), 10, normalization="batchnorm", dropout_keep_ratio=0.9, reg=1e-3, compute_dtype="bfloat16"
)  # fmt: skip
SETTINGS = [{"learning_rate": 1e-3 * i, "seed": i} for i in range(1, 17)]
SEARCHED = TrainConfig(hidden=(32,), batch_size=64, epochs=2, normalization="batchnorm")
PLACES = ("fit v5e:1x1", "fit v5e:16x16", "search v5e:1x1", "search v5e:4x4")


@pytest.fixture(scope="module")
def plans():
    """The plans of a training and of a search, each for a chip and for many, on a processor without bfloat16."""
    before, precision.multiplies_bfloat16 = precision.multiplies_bfloat16, lambda: False
    data, kept = load("digits"), {}

    def of(place):
        if place not in kept:
            what, on = place.split()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as: this processor has no instructions for bfloat16
                if what == "fit":
                    kept[place] = plan(NET, "adam", data, on=on, batch_size=512, epochs=2, augment=("shift:1",))
                else:
                    (kept[place],) = plan_search(data, SEARCHED, SETTINGS, on=on)
        return kept[place]

    yield of
    precision.multiplies_bfloat16 = before


# ---------------------------------------------------------------------------------------------------
# Compiled for TPUs
# ---------------------------------------------------------------------------------------------------


@needs_libtpu
@pytest.mark.parametrize("place", PLACES)
def test_every_program_fits_and_has_no_float64_and_waits_for_no_host(plans, place):
    made = plans(place)
    assert made.fits
    names = ["train", "begin", "draw", "predict"] if place.startswith("fit") else ["train", "begin", "predict"]
    assert [report.name for report in made.programs] == names
    for report in made.programs:
        assert not report.text.has_float64, report.name
        assert not report.text.calls_host, report.name


@needs_libtpu
@pytest.mark.parametrize("place", PLACES[:2])
def test_bfloat16_for_a_tpu_is_bfloat16_whatever_this_processor_has(plans, place):
    texts = {report.name: report.text.text for report in plans(place).programs}
    assert "bf16[" in texts["train"]
    assert "bf16[" in texts["predict"]
    assert "bf16[" not in texts["draw"]


def test_tracing_for_a_tpu_and_for_this_processor_are_apart(monkeypatch):
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: False)
    outputs = jax.jit(lambda net, params, stats, x: net.apply(params, stats, x)[0])
    arguments = NET, *NET.init(jax.random.key(0)), jnp.ones((4, 64))

    def factors():
        text = outputs.trace(*arguments).lower(lowering_platforms=("tpu",)).as_text()
        return re.findall(r"dot_general.* : \(tensor<\w*x(\w+)>, tensor<\w*x(\w+)>\)", text)

    precision._say_once.cache_clear()
    with pytest.warns(UserWarning, match="no instructions"):
        assert factors() == [("f32", "f32")] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with precision.compiling_for("tpu"):
            assert factors() == [("bf16", "bf16")] * 3
    assert factors() == [("f32", "f32")] * 3
    precision._say_once.cache_clear()


@needs_libtpu
def test_memory_is_as_planned(plans):
    one, many = plans("fit v5e:1x1"), plans("fit v5e:16x16")
    for made in (one, many):
        known = made.memory.data + made.memory.parameters + made.memory.slots
        assert known <= made.programs[0].arguments <= 4 * known  # tiles of 8 x 128 numbers
    numbers = 64 * 256 + 256 * 128 + 128 * 10 + 3 * (256 + 128) + 10
    assert one.memory.slots == pytest.approx(2 * 4 * numbers, rel=0.01)  # Adam's two, in float32
    shared = 2 * 4 * (64 * 256 + 256 * 128) / 256  # of weights; what is small is everywhere
    assert shared < many.memory.slots < shared + 2 * 4 * (128 * 10 + 3 * (256 + 128) + 10) + 200


@needs_libtpu
def test_a_training_exchanges_gradients_and_a_population_nothing(plans):
    assert plans("fit v5e:1x1").step.collectives == []
    exchanged = plans("fit v5e:16x16").step.collectives
    weights = 4 * (64 * 256 + 256 * 128)
    assert {each.chips for each in exchanged} == {256}
    summed = sum(each.bytes * each.count for each in exchanged if each.kind in ("all-reduce", "reduce-scatter"))
    assert weights <= summed < 3 * weights
    assert plans("search v5e:4x4").step.collectives == []


@needs_libtpu
def test_the_step_is_estimated_and_products_are_a_part_of_it(plans):
    one, many = plans("fit v5e:1x1"), plans("fit v5e:16x16")
    assert one.step.flops == 2 * 512 * (2 * 64 * 256 + 3 * 256 * 128 + 3 * 128 * 10)
    assert many.step.flops == one.step.flops / 256
    assert 0 < one.step.product_share(one.chip) < 1
    times = many.times()
    assert times["estimate"] == max(times["products"], times["memory"]) + times["links"]
    assert times["compiler"] == pytest.approx(many.step.cycles / 1.5e9, rel=0.01)
    assert "cycles, of which products need" in str(one)
    assert "all-reduce" in str(many) or "reduce-scatter" in str(many)


def test_what_does_not_fit_is_said_with_what_to_change(capfd, monkeypatch):
    monkeypatch.setattr(ahead, "free_bytes", lambda device: 100_000)
    code, out, err = command(capfd, "plan", "--hidden", 8)
    assert (code, err) == (1, [])
    assert "does NOT fit 80 kB" in out[1]
    assert out[2].startswith("to change: smaller batches")
    assert "fewer rows" in out[2]
    refused = Report.of("train", None, "RESOURCE_EXHAUSTED: Used 17.5G of\n15.75G hbm")
    assert not refused.fits
    assert refused.refusal.endswith("Used 17.5G of 15.75G hbm")


@needs_libtpu
def test_the_faces_solver_compiles_for_a_tpu(monkeypatch):
    device = topology("v5e:1x1").devices[0]
    where, texts = jax.sharding.SingleDeviceSharding(device), []

    def recording(function, donate=()):
        program = jax.jit(function, donate_argnums=donate)

        def call(*args):
            with jax.enable_x64(True):
                shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=where), args)
                texts.append(Text(program.trace(*shapes).lower(lowering_platforms=("tpu",)).compile().as_text()))
                return program(*args)

        return call

    stretch._program.cache_clear()
    monkeypatch.setattr(stretch, "compiled", recording)
    x, y = np.random.default_rng(0).normal(size=(20, 12)), np.arange(20) % 3
    model = FullyConnectedNet([16], input_dim=12, num_classes=3, normalization="batchnorm", dtype=np.float32)
    data = {"X_train": x, "y_train": y, "X_val": x, "y_val": y}
    Solver(model, data, update_rule="adam", num_epochs=1, batch_size=10, print_every=10, verbose=False).train()
    stretch._program.cache_clear()
    assert texts
    assert not re.search(r"f64\[[\d,]*\]\S* constant", texts[0].text)
    assert not texts[0].calls_host


@needs_libtpu
def test_making_a_topology_leaves_the_environment_as_it_was():
    before = dict(os.environ)
    assert len(topology("v5e:16x16").devices) == 256
    assert dict(os.environ) == before


@needs_libtpu
def test_several_processes_may_plan_at_once():
    topology("v5e:1x1")
    code = "from jaxfc.planning import topology; print(topology('v6e:1x1').devices[0].device_kind)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "TPU v6 lite"


def test_products_take_the_tpus_branch():
    a, b = jnp.ones((1024, 512), jnp.bfloat16), jnp.ones((1024, 256), jnp.bfloat16)
    for form, factors in ((product_tn, (a, b)), (product_nt, (a, a)), (product, (a, b[:512]))):
        traced = jax.jit(form).trace(*factors)
        assert "optimization_barrier" in traced.lower(lowering_platforms=("cpu",)).as_text()
        assert "optimization_barrier" not in traced.lower(lowering_platforms=("tpu",)).as_text()


# ---------------------------------------------------------------------------------------------------
# Read, counted, estimated
# ---------------------------------------------------------------------------------------------------

PROGRAM = """
HloModule jit_train, num_partitions=8

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%scatter (p: f32[256,8]) -> f32[64,8] {
  ROOT %r = f32[64,8]{1,0} reduce-scatter(%p), channel_id=5, replica_groups=[1,4]<=[4], dimensions={0}, to_apply=%sum
}

%part (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %slow = f32[8]{0} fusion(%t), kind=kLoop, calls=%sum, backend_config={"estimated_cycles":"7"}
}

%round (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %x.1 = f32[8,128]{1,0:T(8,128)} fusion(%t), kind=kOutput, calls=%sum, backend_config={"estimated_cycles":"1000"}
  %y = bf16[1024]{0} all-reduce(%x.1), replica_groups={{0,1},{2,3}}, to_apply=%sum
  %z = (f32[64]{0}, f32[256]{0}) all-gather-start(%x.1), replica_groups=[1,4]<=[4], dimensions={0}
  %s = f32[64,8]{1,0} fusion(%x.1), kind=kCustom, calls=%scatter, backend_config={"estimated_cycles":"20"}
  %done = f32[64,8]{1,0} fusion(%s), kind=kCustom, calls=%scatter
  %m = f32[16]{0} all-reduce(%x.1), replica_groups=mesh['a'=4,'b'=2] {'a'}, to_apply=%sum
  %n = f32[16]{0} all-reduce(%x.1), replica_groups=mesh['a'=4,'b'=2] {'a':(1)2,'b'}, to_apply=%sum
  %all = f32[32]{0} all-reduce(%x.1), replica_groups={}, to_apply=%sum
  %inner = (s32[], f32[8]) while(%t), condition=%sum, body=%part, metadata={op_name="jit(train)/steps/while/body/while"}, backend_config={"known_trip_count":{"n":"3"}}
}

%either (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %loop = (s32[], f32[8]) while(%t), condition=%sum, body=%round, metadata={op_name="jit(train)/steps/while"}, backend_config={"known_trip_count":{"n":"10"}}
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %c = (s32[], f32[8]) conditional(%p, %p, %p), branch_computations={%part, %either}
}
"""  # noqa: E501


def test_a_compiled_programs_cycles_and_exchanges_are_read():
    text = Text(PROGRAM)
    step = text.within("steps")
    assert text.cycles(step) == 1000 + 20 + 3 * 7
    assert text.cycles() == 10 * (1000 + 20 + 3 * 7)
    found = {(each.kind, each.bytes, each.chips): each.count for each in text.collectives(step)}
    assert found == {
        ("all-reduce", 2048, 2): 1,
        ("all-gather", 1024, 4): 1,
        ("reduce-scatter", 4 * 64 * 8 * 4, 4): 1,
        ("all-reduce", 64, 4): 2,
        ("all-reduce", 128, 8): 1,
    }
    assert not text.has_float64
    assert not text.calls_host
    assert Text(PROGRAM.replace("bf16[1024]", "f64[1024]")).has_float64
    assert Text(PROGRAM + '  %k = s32[] custom-call(), custom_call_target="xla_ffi_python_cpu_callback"').calls_host


def test_products_are_counted_as_they_are_needed_in_all_parts_of_a_batch():
    net = dataclasses.replace(NET, compute_dtype=None)
    made = plan(net, "sgd", load("digits"), on="this", batch_size=64, accumulate=4)
    assert made.step.flops == 2 * 64 * (2 * 64 * 256 + 3 * 256 * 128 + 3 * 128 * 10)
    assert made.step.cycles == 0
    assert made.fits


def test_products_of_a_population_are_those_of_all_its_members():
    (made,) = plan_search(load("digits"), SEARCHED, SETTINGS[:4], on="this", chunk=4)
    assert made.step.flops == 4 * 2 * 64 * (2 * 64 * 32 + 3 * 32 * 10)


def test_products_outside_of_a_loop_are_counted():
    traced = jax.jit(lambda a: jax.vmap(jnp.matmul, (0, None))(a, a[0])).trace(jnp.ones((5, 3, 3)))
    assert product_flops(traced, "steps") == 5 * 2 * 27


def test_planning_for_this_machine_knows_its_memory_to_the_byte():
    data = load("digits")
    made = plan(FCNet(64, (32,), 10), "sgd_momentum", data, on="this", batch_size=100)
    numbers = 64 * 32 + 32 + 32 * 10 + 10
    rows = len(data.x_train) + len(data.x_val)
    assert made.memory.parameters == 2 * 4 * numbers + 3 * 4  # the best ones as well: their score, loss and epoch
    assert made.memory.data == 64 * rows + 4 * rows + 4 * (64 + 1) + 4 * 1000 + 8
    lengthened = plan(FCNet(64, (32,), 10), "sgd_momentum", data, on="this", batch_size=100, rows=5000)
    more = 5000 - len(data.x_train)
    assert lengthened.memory.data - made.memory.data == 64 * more + 4 * more


def test_the_clocks_follow_from_the_published_rates():
    clocks = {name: round(chip.clock / 1e9, 2) for name, chip in CHIPS.items() if chip.macs}
    assert clocks == {"v4": 1.05, "v5e": 1.5, "v5p": 1.75, "v6e": 1.75}


# ---------------------------------------------------------------------------------------------------
# The command, and bad input
# ---------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table(capfd):
    code, out, err = command(capfd, "plan", "--hidden", 16, "--batch-size", 100)
    assert (code, err) == (0, [])
    assert out[0].startswith("training, batch 100, on this: 1 device (")
    assert out[1].startswith("it fits: ")
    assert any(line.startswith("  slots of the update rule") for line in out)
    code, out, _ = command(capfd, "plan", "--hidden", 16, "--learning-rate", "loguniform:1e-3:1e-2", "--trials", 4)
    assert code == 0
    assert out[0].startswith("a search, 8 candidates to a program, batch 32, on this")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--on", "v9:1x1"), "unknown topology 'v9:1x1': use v5e:1x1"),
        (("--on", "v5e"), "unknown topology 'v5e': give it a shape, as in v5e:4x4"),
        (("--on", "v5p:2x2q"), "give it a shape, as in v5p:2x2x1"),
        (("--on", "v5e:32x16"), "v5e has up to 16x16 chips"),
        (("--on", "v5e:2x2x1"), "v5e has up to 16x16 chips"),
        (("--mesh", "rows=2"), "unknown mesh axis 'rows'"),
        (("--mesh", "data=2"), "needs 2 devices"),
        (("--rows", "0"), "rows=0"),
        pytest.param(("--on", "v5e:3x3"), "unknown topology 'v5e:3x3'", marks=needs_libtpu),
        pytest.param(("--on", "v5e:2x2", "--batch-size", "33"), "does not divide batch_size=33", marks=needs_libtpu),
        pytest.param(("--on", "v5e:2x2", "--mesh", "data=2"), "use them all", marks=needs_libtpu),
    ],
)
def test_bad_input_is_one_line(capfd, flags, words):
    assert words in fails(capfd, "plan", *flags)


def test_a_compiler_that_is_not_installed_is_named(capfd, monkeypatch):
    monkeypatch.setattr(topologies.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    assert "pip install 'jaxfc[plan]'" in fails(capfd, "plan", "--on", "v5e:1x1")
    assert "jax-cuda13-plugin" in fails(capfd, "plan", "--on", "h200")


def test_it_is_there_when_asked_for():
    assert jaxfc.plan is plan
