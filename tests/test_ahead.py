"""A training's program compiled ahead: it is the one that is called, and what cannot be known ahead is waited for."""

import jax
import jax.numpy as jnp
import pytest

from jaxfc import FCNet, load
from jaxfc.optim import Rule
from jaxfc.training.fit import carry_out
from jaxfc.training.prepare import prepare
from jaxfc.training.settings import RunSettings

NET = FCNet(64, (9,), 10, normalization="batchnorm", dropout_keep_ratio=0.9, reg=1e-3)


@pytest.fixture
def programs():
    """The names of the programs compiled."""
    names = []

    def listen(event, duration, fun_name="", **_):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9, "augment": ("shift:1",)}, {"accumulate": 2}])
def test_the_program_compiled_ahead_is_the_one_that_is_called(programs, options):
    settings = RunSettings(epochs=1, **options)
    prepared = prepare(NET, "adamw", load("digits"), settings, hyper={"weight_decay": 0.1})
    prepared.compilation.result()
    carry_out(prepared, verbose=False)
    assert programs.count("jit(train_epochs)") == 1
    again = prepare(NET, "adamw", load("digits"), settings, hyper={"weight_decay": 0.2})
    assert again.compilation is None
    carry_out(again, verbose=False)
    assert programs.count("jit(train_epochs)") == 1


def test_a_rule_that_looks_at_its_parameters_values_is_compiled_when_called():
    def init(params):
        return {"rate": jnp.float32(0.1 if float(params[0]["b"].sum()) == 0 else 1e9)}

    def update(params, grads, state):
        return jax.tree.map(lambda p, g: p - state["rate"] * g, params, grads), state

    prepared = prepare(NET, Rule("looking", init, update), load("digits"), RunSettings(epochs=1))
    assert prepared.compilation is None
    assert carry_out(prepared, verbose=False).best_score > 0.5
