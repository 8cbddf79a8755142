"""Fully-connected networks in pure JAX.

The pieces, each a module: `layers` (forward and backward pairs), `network` (`FCNet`, `init`, `apply`,
`loss`), `optim` and `schedules` (update rules), `data` (data sets), `train` (`train_step`, `fit`),
`model` (a trained network and its file), `gradcheck` (tests of hand-written gradients).
"""

from jaxfc import gradcheck, layers, network, optim, schedules, search
from jaxfc.data import Dataset, Normalizer, load
from jaxfc.ensemble import Ensemble
from jaxfc.errors import DivergenceError, FormatError, PrecisionError
from jaxfc.model import Model
from jaxfc.network import FCNet, apply, init, loss, predict, predict_proba, summary
from jaxfc.train import EpochReport, Result, TrainState, fit, init_state, train_step

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "DivergenceError",
    "Ensemble",
    "EpochReport",
    "FCNet",
    "FormatError",
    "Model",
    "Normalizer",
    "PrecisionError",
    "Result",
    "TrainState",
    "apply",
    "fit",
    "gradcheck",
    "init",
    "init_state",
    "layers",
    "load",
    "loss",
    "network",
    "optim",
    "predict",
    "predict_proba",
    "schedules",
    "search",
    "summary",
    "train_step",
]
