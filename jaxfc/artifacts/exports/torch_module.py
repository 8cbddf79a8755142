"""An `FCNet` as a PyTorch module of plain layers: the inputs' normalization first, what outputs mean last."""

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfc.data import Normalizer, Pooled
from jaxfc.networks import FCNet
from jaxfc.tasks import Classification, Multilabel, Regression

if TYPE_CHECKING:
    from jaxfc.artifacts.model import Model

ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",  # of slope 0.01, in both
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
    "gelu": "GELU",
}


def module_of(model: "Model") -> Any:
    """A model as a `torch.nn.Sequential` in evaluation mode; see `Model.to_torch`.

    Raises:
        ImportError: PyTorch is not installed.
        TypeError: another network than `FCNet`, a task with a decoding or inputs with an encoding of their own, an
            activation that is a function.

    >>> from jaxfc import Model, ResidualNet, init, load
    >>> import jax
    >>> net = ResidualNet(64, 8, 1, 10)
    >>> module_of(Model.of(net, *init(net, jax.random.key(0)), load("digits")))
    Traceback (most recent call last):
    TypeError: to_torch writes an FCNet as plain layers, and this is a ResidualNet: use to_onnx, or export
    """
    elsewhere = "use to_onnx, or export"
    net, task = model.net, model.task
    if type(net) is not FCNet:
        raise TypeError(f"to_torch writes an FCNet as plain layers, and this is a {type(net).__name__}: {elsewhere}")
    if not isinstance(net.activation, str):
        raise TypeError(f"to_torch knows no layer for the function {net.activation!r}: {elsewhere}")
    if type(model.normalizer) not in (Normalizer, Pooled):
        raise TypeError(f"to_torch knows no layer for the inputs' {type(model.normalizer).__name__}: {elsewhere}")
    if type(task).decode not in (Classification.decode, Multilabel.decode, Regression.decode):
        raise TypeError(f"to_torch knows no layer for what {type(task).__name__} makes of outputs: {elsewhere}")
    try:
        from torch import nn
    except ImportError as error:
        raise ImportError("to_torch needs PyTorch: pip install torch") from error
    modules = _inputs(model.normalizer)
    for i, (fan_in, fan_out) in enumerate(pairwise(net.dims)):
        linear, layer = nn.Linear(fan_in, fan_out), model.params[i]
        _set(linear, weight=np.asarray(layer["w"]).T, bias=layer["b"])
        modules.append(linear)
        if i < len(net.hidden_dims):
            modules += _hidden(model, i, fan_out)
    return nn.Sequential(*modules, *_decoded(task)).eval()


def _inputs(normalizer: Normalizer | Pooled) -> list:
    """What makes inputs of rows."""
    from torch import nn

    if isinstance(normalizer, Normalizer):
        return [_normalize(*normalizer)]
    layout = normalizer.layout
    images = nn.Unflatten(1, (-1, *layout.image_shape[-2:]))
    return [_normalize(*normalizer.normalizer), images, nn.AvgPool2d(layout.side), nn.Flatten()]


def _hidden(model: "Model", i: int, width: int) -> list:
    """What comes after a hidden layer's product: normalization, activation, dropout."""
    from torch import nn

    net, layer, made = model.net, model.params[i], []
    eps = float(net.norm_eps)
    if net.normalization == "batchnorm":
        # PyTorch's momentum is the part of the new statistics, this library's that of the old.
        made.append(nn.BatchNorm1d(width, eps=eps, momentum=1 - float(net.norm_momentum)))
        _set(made[0], running_mean=model.stats[i].mean, running_var=model.stats[i].var)
    elif net.normalization == "layernorm":
        made.append(nn.LayerNorm(width, eps=eps))
    elif net.normalization == "rmsnorm":
        made.append(nn.RMSNorm(width, eps=eps))
    if made:
        _set(made[0], weight=layer["gamma"], **({"bias": layer["beta"]} if "beta" in layer else {}))
    made.append(getattr(nn, ACTIVATIONS[net.activation])())
    if net.dropout_keep_ratio is not None:
        made.append(nn.Dropout(1 - float(net.dropout_keep_ratio)))
    return made


def _decoded(task: Any) -> list:
    """The layers that make predictions of outputs."""
    from torch import nn

    if isinstance(task, Regression):
        if task.mean is None:
            return []
        scale, mean = (np.repeat(np.asarray(each), max(len(task.quantiles), 1)) for each in (task.scale, task.mean))
        return [_affine(scale, mean)]
    temperature = getattr(task, "temperature", None)
    cooled = [] if temperature is None else [_affine(1 / np.float64(temperature), np.float64(0))]
    return [*cooled, nn.Sigmoid() if isinstance(task, Multilabel) else nn.Softmax(dim=1)]


def _affine(scale: Any, shift: Any) -> Any:
    """The module `x * scale + shift`, entry by entry."""
    import torch

    class Affine(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", _tensor(scale))
            self.register_buffer("shift", _tensor(shift))

        def forward(self, x: Any) -> Any:
            return x * self.scale + self.shift

    return Affine()


def _normalize(mean: Any, scale: Any) -> Any:
    """The module `(x - mean) * scale`; multiplied out, large means would cost digits."""
    import torch

    class Normalize(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", _tensor(mean))
            self.register_buffer("scale", _tensor(scale))

        def forward(self, x: Any) -> Any:
            return (x.to(self.mean.dtype) - self.mean) * self.scale

    return Normalize()


def _set(module: Any, **tensors: Any) -> None:
    for name, array in tensors.items():
        getattr(module, name).data = _tensor(array)


def _tensor(array: Any) -> Any:
    """A copy, in float32, in memory that is PyTorch's own."""
    import torch

    return torch.tensor(np.asarray(array, np.float32))


def program_of(model: "Model") -> bytes:
    """A model as a file that `torch.export.load` reads, of a batch of any size, without this library.

    Raises:
        ImportError, TypeError: as `module_of`.

    >>> from jaxfc import Model, ResidualNet, init, load
    >>> import jax
    >>> net = ResidualNet(64, 8, 1, 10)
    >>> program_of(Model.of(net, *init(net, jax.random.key(0)), load("digits")))
    Traceback (most recent call last):
    TypeError: to_torch writes an FCNet as plain layers, and this is a ResidualNet: use to_onnx, or export
    """
    module = module_of(model)
    import torch

    rows = (torch.zeros(2, model.num_features),)
    exported = torch.export.export(module, rows, dynamic_shapes=({0: torch.export.Dim("batch")},))
    file = io.BytesIO()
    torch.export.save(exported, file)
    return file.getvalue()
