"""The assignment's own way in NumPy: all inputs normalized in float32 beforehand, then a loop of loss and update."""

import sys
from pathlib import Path

import numpy as np

from peers import Outcome
from peers.work import Data, Work

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))

from numpy_reference import RULES, FullyConnectedNet


class Numpy:
    """`FullyConnectedNet` and an update rule of `tests/numpy_reference.py`."""

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work, self.dims = work, data.dims
        self.x, self.x_val = ((x - data.mean) * data.scale for x in (data.x, data.x_val))
        self.y, self.y_val = data.y, data.y_val
        self.rule = RULES[work.rule]

    def start(self) -> None:
        """Draw new parameters."""
        work, (features, classes) = self.work, self.dims
        np.random.seed(0)
        self.net = FullyConnectedNet(
            list(work.hidden_dims),
            features,
            classes,
            dropout_keep_ratio=work.keep_ratio or 1,
            normalization="batchnorm" if work.batchnorm else None,
            reg=work.reg,
            weight_scale=1.0 if work.weight_scale is None else work.weight_scale,
        )
        if work.weight_scale is None:
            for name, w in self.net.params.items():
                if name[0] == "W":
                    w *= work.scale_of(len(w))
        self.configs = {name: {"learning_rate": work.learning_rate} for name in self.net.params}

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, a step at a time."""
        losses, val_acc = [], None
        for plan in plans:
            for rows in plan:
                loss, grads = self.net.loss(self.x[rows], self.y[rows])
                losses.append(float(loss))
                for name, w in self.net.params.items():
                    self.net.params[name], _ = self.rule(w, grads[name], self.configs[name])
            if self.work.whole_run:
                val_acc = self.accuracy()
        return Outcome(losses, val_acc)

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        return float(np.mean(self.net.loss(self.x_val).argmax(axis=1) == self.y_val))
