"""Fully-connected networks in pure JAX.

The rooms, each with one purpose: `layers` (forward and backward pairs), `networks` (the contract, `FCNet`,
`ResidualNet`), `tasks` (losses, metrics, predictions), `optim` (update rules and schedules), `data` (data
sets), `training` (`fit` and its programs), `search` (many networks at once), `artifacts` (models and their
files), `planning` (what a run would be on another machine), `gradcheck` (tests of hand-written gradients).
"""

import importlib
from typing import Any

from jaxfc import layers, metrics, networks, optim, tasks
from jaxfc.artifacts.ensemble import Ensemble
from jaxfc.artifacts.model import Model
from jaxfc.compilation import compilation_cache
from jaxfc.data import Dataset, Normalizer, load
from jaxfc.description import described, number
from jaxfc.errors import DivergenceError, FormatError, OutOfMemoryError, PrecisionError
from jaxfc.networks import FCNet, ResidualNet, apply, init, network, summary
from jaxfc.objective import loss, predict, predict_proba
from jaxfc.tasks import Classification, Multilabel, Regression, Task
from jaxfc.training.config import TrainConfig
from jaxfc.training.fit import fit
from jaxfc.training.result import EpochReport, Result
from jaxfc.training.step import TrainState, init_state, train_step

__version__ = "0.2.0.dev0"

__all__ = [
    "Classification",
    "Dataset",
    "DivergenceError",
    "Ensemble",
    "EpochReport",
    "FCNet",
    "FormatError",
    "Model",
    "Multilabel",
    "Normalizer",
    "OutOfMemoryError",
    "PrecisionError",
    "Regression",
    "ResidualNet",
    "Result",
    "Task",
    "TrainConfig",
    "TrainState",
    "apply",
    "compilation_cache",
    "described",
    "fit",
    "gradcheck",
    "init",
    "init_state",
    "layers",
    "load",
    "loss",
    "metrics",
    "network",
    "networks",
    "number",
    "optim",
    "plan",
    "planning",
    "predict",
    "predict_proba",
    "search",
    "summary",
    "tasks",
    "train_step",
]

_WHEN_ASKED_FOR = ("gradcheck", "planning", "search")  # rooms that a plain training does not enter


def __getattr__(name: str) -> Any:
    if name == "plan":
        return importlib.import_module("jaxfc.planning").plan
    if name in _WHEN_ASKED_FOR:
        return importlib.import_module(f"jaxfc.{name}")
    raise AttributeError(f"module 'jaxfc' has no attribute {name!r}")
