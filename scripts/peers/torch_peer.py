"""PyTorch: `nn.Sequential`, fused optimizers, uint8 data indexed batch by batch."""

import math
from contextlib import nullcontext
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from peers import Outcome
from peers.work import BATCHNORM_EPS, BATCHNORM_MOMENTUM, Data, Work

SMALL_PRODUCT = 10**8  # multiplications, of a first layer that may be too small for threads to pay


class Torch:
    """PyTorch in eager mode, or (variant `"compile"`) with forward and backward pass by `torch.compile`.

    The variant `"bfloat16"` is eager, with the forward pass under `torch.autocast`, which the backward pass follows.
    """

    def __init__(self, work: Work, data: Data, variant: str) -> None:
        self.work, self.dims, self.compiled = work, data.dims, variant == "compile"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.note = self.device.type
        self.precision = (
            partial(torch.autocast, self.device.type, torch.bfloat16) if variant == "bfloat16" else nullcontext
        )
        torch.set_float32_matmul_precision("high")  # on a GPU as JAX's default; without effect on a CPU
        self.x, self.x_val = (torch.from_numpy(x).to(self.device) for x in (data.x, data.x_val))
        self.y, self.y_val = (torch.from_numpy(y).long().to(self.device) for y in (data.y, data.y_val))
        self.mean = torch.from_numpy(data.mean).to(self.device)
        self.scale = float(data.scale)

    def start(self) -> None:
        """Draw new parameters."""
        torch.manual_seed(0)
        self.model = self._network().to(self.device)
        groups = [
            # On the gradient, which is what the derivative of reg / 2 * sum(w ** 2) amounts to.
            {"params": [p for p in self.model.parameters() if p.ndim == 2], "weight_decay": self.work.reg},
            {"params": [p for p in self.model.parameters() if p.ndim == 1]},
        ]
        if self.work.rule == "adam":
            self.optimizer = torch.optim.Adam(groups, lr=self.work.learning_rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=self.work.learning_rate, momentum=0.9, fused=True)
        self.loss = torch.compile(self._loss) if self.compiled else self._loss

    def _network(self) -> nn.Sequential:
        features, classes = self.dims
        layers: list[nn.Module] = []
        for width in self.work.hidden_dims:
            layers.append(nn.Linear(features, width))
            if self.work.batchnorm:
                layers.append(nn.BatchNorm1d(width, BATCHNORM_EPS, 1 - BATCHNORM_MOMENTUM))
            layers.append(nn.ReLU(inplace=True))
            if self.work.keep_ratio is not None:
                layers.append(nn.Dropout(1 - self.work.keep_ratio))
            features = width
        layers.append(nn.Linear(features, classes))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=self.work.scale_of(layer.in_features))
                nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)

    def tune(self) -> None:
        """Compute with one thread where that is faster than the default, as it may be for small products."""
        features, _ = self.dims
        if self.device.type != "cpu":
            return
        if self.work.batch_size * features * self.work.hidden_dims[0] < SMALL_PRODUCT:
            compiled, self.compiled = self.compiled, False  # what holds for eager mode is assumed to hold for both
            torch.set_num_threads(self._best_threads())
            self.compiled = compiled
            self.start()
            self.train(self.work.plans(len(self.x), 0)[:1, :1])  # compiles again, for another number of threads
        self.note = f"cpu, {torch.get_num_threads()} thread(s)"

    def _best_threads(self) -> int:
        plans = self.work.plans(len(self.x), 0)[:1, :10]
        seconds = dict.fromkeys((torch.get_num_threads(), 1), math.inf)
        for _ in range(5):
            for threads in seconds:
                torch.set_num_threads(threads)
                self.start()
                self.train(plans[:, :1])
                start = perf_counter()
                self.train(plans)
                seconds[threads] = min(seconds[threads], perf_counter() - start)
        return min(seconds, key=seconds.__getitem__)

    def _normalize(self, x: Tensor) -> Tensor:
        x = x.float().sub_(self.mean)
        return x if self.scale == 1 else x.mul_(self.scale)

    def _loss(self, x: Tensor, y: Tensor) -> Tensor:
        with self.precision():
            return functional.cross_entropy(self.model(self._normalize(x)), y)

    def train(self, plans: np.ndarray) -> Outcome:
        """Train on, a step at a time."""
        losses, val_acc = [], None
        for plan in torch.from_numpy(plans).to(self.device):
            self.model.train()
            for rows in plan:
                # Several times as fast as `x[rows]` on a CPU.
                loss = self.loss(self.x.index_select(0, rows), self.y.index_select(0, rows))
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.detach())
            if self.work.whole_run:
                val_acc = self.accuracy()
        return Outcome(torch.stack(losses).tolist(), val_acc)  # a copy to the host, which waits for the device

    def accuracy(self) -> float:
        """The accuracy of the parameters as they are."""
        self.model.eval()
        with torch.inference_mode(), self.precision():
            scores = self.model(self._normalize(self.x_val))
            return (scores.argmax(dim=1) == self.y_val).float().mean().item()
