"""The assignment's fully-connected networks, and all names of `layers` and `layer_utils`."""

import itertools
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from jaxfc import objective
from jaxfc.artifacts.files import write_atomically
from jaxfc.cs231n.bridge import compiled, refuse
from jaxfc.cs231n.classifiers.years import of_any_year
from jaxfc.cs231n.layer_utils import *  # noqa: F403 (notebooks rely on it)
from jaxfc.cs231n.layer_utils import __all__ as _layer_utils
from jaxfc.cs231n.layers import *  # noqa: F403
from jaxfc.cs231n.layers import __all__ as _layers
from jaxfc.cs231n.layers import check_labels
from jaxfc.cs231n.packing import packing
from jaxfc.networks import FCNet, RunningStats

__all__ = ["FullyConnectedNet", "TwoLayerNet", *_layers, *_layer_utils]

Array = np.ndarray
SMALL = 10**6  # parameters: of networks that cost less to run than to compile anew
__getattr__ = partial(refuse, __name__)


class _Model:
    """What both models share: parameters in a dict, and a loss computed by the core network."""

    params: dict[str, Array]
    reg: float
    dtype: Any
    normalization: str | None = None
    use_dropout = False

    def loss(self, X: Array, y: Array | None = None) -> Any:
        """Return the scores of `X` in test mode; or, with labels `y`, the training loss and its gradients.

        Args:
            X: `(N, d_1, …, d_k)`, cast to the model's dtype.
            y: `(N,)` integers.

        Returns:
            Scores `(N, C)`; or `(loss, grads)`, `grads` with the keys of `params`.

        Raises:
            ValueError: shapes that do not fit.
            TypeError: labels that are not integers.
        """
        self.enter("test" if y is None else "train")
        X = np.asarray(X)
        self.check_features(X)
        x = X.reshape(len(X), -1).astype(self.dtype, copy=False)
        program = self.programs()
        if y is None:
            return np.array(program.scores(self.numbers(), self.layers(), self.running(x.dtype), x))
        y = np.asarray(y)
        check_labels(X, y)
        masks = self.draw_masks(len(x))
        loss, grads, stats = program.gradients(self.numbers(), self.layers(), self.running(x.dtype), x, y, masks)
        self.keep(stats)
        return float(loss), flat(grads)

    def check_features(self, X: Array) -> None:
        """Raise unless rows of `X` have as many features as `W1` takes.

        Raises:
            ValueError: another number.
        """
        features, shape = math.prod(X.shape[1:]), self.params["W1"].shape
        if features != shape[0]:
            raise ValueError(f"X has shape {X.shape}, {features} features; W1 has shape {shape}")

    def enter(self, mode: str) -> None:
        """Do what the assignment's `loss` does first, in mode "train" or "test"."""

    def layers(self) -> list[dict[str, Array]]:
        """The parameters as the core network has them."""
        return [
            {key.lower(): self.params[f"{key}{i}"] for key in ("W", "b", "gamma", "beta") if f"{key}{i}" in self.params}
            for i, _ in enumerate(self.weights(), start=1)
        ]

    def weights(self) -> list[Array]:
        """The weight matrices, first to last."""
        count = sum(name.startswith("W") for name in self.params)
        return [self.params[f"W{i}"] for i in range(1, count + 1)]

    def programs(self) -> "Programs":
        """The compiled functions for the parameters as they are now."""
        weights = self.weights()
        dims = (weights[0].shape[0], *(w.shape[1] for w in weights))
        # A small network has an L2 term always, be it 0: cheaper than to compile one without as well.
        penalized = bool(self.reg) or sum(w.size for w in weights) <= SMALL
        return programs(dims, self.normalization, self.use_dropout, penalized, np.dtype(self.dtype).name)

    def numbers(self) -> Array:
        """The core network's numbers: keep ratio, L2 strength, momentum and eps of normalization."""
        return np.array([1.0, self.reg, 0.9, 1e-5])

    def running(self, dtype: Any) -> tuple[RunningStats, ...]:
        """The running statistics."""
        return ()

    def keep(self, stats: Sequence[RunningStats]) -> None:
        """Keep running statistics."""

    def draw_masks(self, rows: int) -> list[Array] | None:
        """Draw dropout masks from NumPy's global stream, in the assignment's order."""
        return None

    def save(self, fname: str) -> None:
        """Pickle the parameters into a file."""
        write_atomically(fname, pickle.dumps(self.params))

    def load(self, fname: str) -> bool:
        """Read the parameters that `save` wrote; return False, and change nothing, if there is no such file.

        Only load files that you trust: they are pickles.
        """
        if not os.path.exists(fname):
            return False
        with open(fname, "rb") as file:
            self.params = {name: np.array(value, self.dtype) for name, value in pickle.load(file).items()}
        return True


class TwoLayerNet(_Model):
    """affine - relu - affine - softmax, in float64.

    >>> model = TwoLayerNet(input_dim=4, hidden_dim=8, num_classes=3)
    >>> loss, grads = model.loss(np.ones((2, 4)), np.array([0, 2]))
    >>> print(f"{loss:.2f}", sorted(grads))
    1.10 ['W1', 'W2', 'b1', 'b2']
    """

    def __init__(
        self,
        input_dim: int = 3 * 32 * 32,
        hidden_dim: int = 100,
        num_classes: int = 10,
        weight_scale: float = 1e-3,
        reg: float = 0.0,
    ) -> None:
        self.reg, self.dtype = reg, np.float64
        self.params = _initial_params((input_dim, hidden_dim, num_classes), weight_scale, None, self.dtype)


class FullyConnectedNet(_Model):
    """{affine - [batchnorm / layernorm] - relu - [dropout]} × (L - 1) - affine - softmax.

    Args:
        hidden_dims: the hidden layers' widths.
        input_dim: the number of input features.
        num_classes: the number of classes.
        dropout_keep_ratio: the probability to KEEP an activation; 1 for no dropout.
        normalization: None, `"batchnorm"` or `"layernorm"`.
        reg: L2 strength, of `0.5 * reg * sum(W**2)`.
        weight_scale: the standard deviation of initial weights, drawn from NumPy's global stream.
        dtype: of parameters and computation, float32 or float64.
        seed: for dropout: seeds NumPy's global stream before every mask.
        dropout: what the years before 2021 had in place of the keep ratio: in 2016 and 2017, and so beside
            `use_batchnorm`, the probability to DROP, 0 for none; from 2018 on, and so without, the probability
            to KEEP, 1 for none. Without either normalization beside it a warning says that it is kept.
            `dropout_param["p"]` is the probability to keep, whichever was given.
        use_batchnorm: 2016's and 2017's name for `normalization="batchnorm"`.

    Raises:
        ValueError: arguments that contradict each other, or that are out of their range.

    >>> model = FullyConnectedNet([8, 8], input_dim=4, num_classes=3, normalization="batchnorm")
    >>> sorted(model.params)
    ['W1', 'W2', 'W3', 'b1', 'b2', 'b3', 'beta1', 'beta2', 'gamma1', 'gamma2']
    >>> model.loss(np.ones((2, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        hidden_dims: Sequence[int],
        input_dim: int = 3 * 32 * 32,
        num_classes: int = 10,
        dropout_keep_ratio: float = 1,
        normalization: str | None = None,
        reg: float = 0.0,
        weight_scale: float = 1e-2,
        dtype: Any = np.float32,
        seed: int | None = None,
        *,
        dropout: float | None = None,
        use_batchnorm: bool | None = None,
    ) -> None:
        keep_ratio, normalization = of_any_year(dropout_keep_ratio, normalization, dropout, use_batchnorm)
        self.normalization = normalization
        self.use_dropout = keep_ratio != 1
        self.reg = reg
        self.num_layers = 1 + len(hidden_dims)
        self.dtype = dtype
        self.params = _initial_params((input_dim, *hidden_dims, num_classes), weight_scale, normalization, dtype)
        self.dropout_param: dict[str, Any] = {}
        if self.use_dropout:
            self.dropout_param = {"mode": "train", "p": keep_ratio}
            if seed is not None:
                self.dropout_param["seed"] = seed
        self.bn_params: list[dict[str, Any]] = []
        if normalization == "batchnorm":
            self.bn_params = [{"mode": "train"} for _ in hidden_dims]
        elif normalization == "layernorm":
            self.bn_params = [{} for _ in hidden_dims]
        self.programs()  # raises on what the core network does not know

    @property
    def use_batchnorm(self) -> bool:
        """Whether the normalization is batchnorm: an attribute in 2016 and 2017."""
        return self.normalization == "batchnorm"

    def enter(self, mode: str) -> None:
        """Set the mode in `bn_params` and `dropout_param`, and seed what test mode seeds."""
        if self.use_dropout:
            self.dropout_param["mode"] = mode
        if self.normalization == "batchnorm":
            for bn_param in self.bn_params:
                bn_param["mode"] = mode
        if mode == "test" and self.num_layers > 1:
            self._seed_noise()  # the assignment's dropout does so in either mode

    def numbers(self) -> Array:
        """The core network's numbers: keep ratio, L2 strength, momentum and eps of normalization."""
        norm = self.bn_params[0] if self.bn_params else {}
        keep_ratio = self.dropout_param["p"] if self.use_dropout else 1
        return np.array([keep_ratio, self.reg, norm.get("momentum", 0.9), norm.get("eps", 1e-5)], np.float64)

    def running(self, dtype: Any) -> tuple[RunningStats, ...]:
        """The running statistics of `bn_params`, zeros at first."""
        if self.normalization != "batchnorm":
            return ()
        widths = (self.params[f"b{i}"].shape for i in range(1, self.num_layers))
        return tuple(
            RunningStats(*(np.asarray(p.get(f"running_{name}", np.zeros(width)), dtype) for name in ("mean", "var")))
            for p, width in zip(self.bn_params, widths, strict=True)
        )

    def keep(self, stats: Sequence[RunningStats]) -> None:
        """Write running statistics into `bn_params`."""
        for bn_param, (mean, var) in zip(self.bn_params, stats, strict=False):
            bn_param["running_mean"], bn_param["running_var"] = np.array(mean), np.array(var)

    def draw_masks(self, rows: int) -> list[Array] | None:
        """Draw a mask for each hidden layer from NumPy's global stream."""
        if not self.use_dropout:
            return None
        masks = []
        for i in range(1, self.num_layers):
            self._seed_noise()
            masks.append(np.random.rand(rows, self.params[f"b{i}"].size) < self.dropout_param["p"])
        return masks

    def _seed_noise(self) -> None:
        if "seed" in self.dropout_param:
            np.random.seed(self.dropout_param["seed"])


def _initial_params(dims: Sequence[int], scale: float, normalization: str | None, dtype: Any) -> dict[str, Array]:
    params = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims), start=1):
        params[f"W{i}"] = (scale * np.random.randn(fan_in, fan_out)).astype(dtype)
        params[f"b{i}"] = np.zeros(fan_out, dtype)
        if normalization and i < len(dims) - 1:
            params[f"gamma{i}"], params[f"beta{i}"] = np.ones(fan_out, dtype), np.zeros(fan_out, dtype)
    return params


def flat(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The core network's parameters or gradients under the assignment's names."""
    names = {"w": "W", "b": "b", "gamma": "gamma", "beta": "beta"}
    return {f"{names[key]}{i}": value for i, layer in enumerate(layers, start=1) for key, value in layer.items()}


class Programs:
    """The compiled functions of networks of one structure; their numbers are arguments, as an array of four."""

    def __init__(self, structure: FCNet) -> None:
        self.structure = structure
        self.scores = compiled(self._scores)
        self.classes = compiled(self._classes)
        self.gradients = packing(self.value_and_grad)

    def _net(self, numbers: Any) -> FCNet:
        keep_ratio, reg, momentum, eps = numbers
        given = {"norm_momentum": momentum, "norm_eps": eps}
        if self.structure.dropout_keep_ratio is not None:
            given["dropout_keep_ratio"] = keep_ratio
        if self.structure.reg is not None:
            given["reg"] = reg
        return replace(self.structure, **given)

    def _scores(self, numbers: Any, layers: Any, stats: Any, x: Any) -> Any:
        return self._net(numbers).apply(layers, stats, x)[0].astype(x.dtype)

    def _classes(self, numbers: Any, layers: Any, stats: Any, x: Any, rows: Any) -> Any:
        return self._scores(numbers, layers, stats, x[rows]).argmax(axis=1)

    def value_and_grad(self, numbers: Any, layers: Any, stats: Any, x: Any, y: Any, masks: Any) -> tuple:
        """The loss, its gradients, and the new running statistics."""
        gradient = jax.value_and_grad(objective.loss, argnums=1, has_aux=True)
        (loss, stats), grads = gradient(self._net(numbers), layers, stats, x, y, masks)
        return loss, grads, stats


@cache
def programs(dims: tuple[int, ...], normalization: str | None, dropout: bool, penalized: bool, dtype: str) -> Programs:
    """The programs of a structure, compiled once in a process."""
    structure = FCNet(
        dims[0],
        dims[1:-1],
        dims[-1],
        normalization=normalization,
        dropout_keep_ratio=1.0 if dropout else None,
        reg=0.0 if penalized else None,
        param_dtype=dtype,
    )
    return Programs(structure)
