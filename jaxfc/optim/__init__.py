r"""Update rules, their hyper-parameters, and what wraps a rule into another.

A rule is a pure function `(params, grads, state) -> (params, state)` with an `init(params, **hyper) ->
state`. Its hyper-parameters are leaves of its state: replacing one compiles nothing, `jax.vmap` runs
over them, and a checkpoint keeps them. `Scheduled`, `Clipped`, `Averaged` and `Grouped` make a rule of
rules, in any order; a rule of one's own goes wherever the library's do.

Slots and arithmetic are at least float32; parameters keep their dtype.
"""

from jaxfc.optim.adaptive import AdamState, LionState, adam, adamw, decaying, lion
from jaxfc.optim.averaging import Averaged, AveragedState, averages
from jaxfc.optim.clipping import Clipped, ClippedState, clip_by_global_norm, global_norm
from jaxfc.optim.contract import Rule, UpdateRule, check_rule, hyper_names, ignores_zeros, learning_rate_of
from jaxfc.optim.groups import Grouped, GroupedState
from jaxfc.optim.hyper import HYPER, HyperParameter
from jaxfc.optim.hyper import Hyper as Hyper
from jaxfc.optim.hyper import Number as Number
from jaxfc.optim.leaves import Tree as Tree
from jaxfc.optim.leaves import everything, matrices
from jaxfc.optim.orthogonal import MuonState, muon, muon_bfloat16, orthogonalize
from jaxfc.optim.registry import RULES, help_of, rule
from jaxfc.optim.rules import (
    AdagradState,
    MomentumState,
    RMSPropState,
    SGDState,
    adagrad,
    nesterov,
    rmsprop,
    sgd,
    sgd_momentum,
)
from jaxfc.optim.schedules import (
    SCHEDULES,
    Schedule,
    Scheduled,
    ScheduledState,
    constant,
    cosine,
    exponential,
    extended,
    linear,
)
from jaxfc.optim.state import hyper_of, with_hyper

__all__ = [
    "HYPER",
    "RULES",
    "SCHEDULES",
    "AdagradState",
    "AdamState",
    "Averaged",
    "AveragedState",
    "Clipped",
    "ClippedState",
    "Grouped",
    "GroupedState",
    "HyperParameter",
    "LionState",
    "MomentumState",
    "MuonState",
    "RMSPropState",
    "Rule",
    "SGDState",
    "Schedule",
    "Scheduled",
    "ScheduledState",
    "UpdateRule",
    "adagrad",
    "adam",
    "adamw",
    "averages",
    "check_rule",
    "clip_by_global_norm",
    "constant",
    "cosine",
    "decaying",
    "everything",
    "exponential",
    "extended",
    "global_norm",
    "help_of",
    "hyper_names",
    "hyper_of",
    "ignores_zeros",
    "learning_rate_of",
    "linear",
    "lion",
    "matrices",
    "muon",
    "muon_bfloat16",
    "nesterov",
    "orthogonalize",
    "rmsprop",
    "rule",
    "sgd",
    "sgd_momentum",
    "with_hyper",
]
