"""What a training will need, and whether it can be had: memory, a program that compiles, numbers that a device holds.

All of it is asked before a network is traced, an array made or a file written.
"""

import dataclasses
from collections.abc import Mapping
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc.data import Dataset
from jaxfc.errors import shortened
from jaxfc.layers.common import wider
from jaxfc.memory import check_memory
from jaxfc.networks import Network
from jaxfc.networks.contract import cost, dtype
from jaxfc.objective import ROWS
from jaxfc.optim import UpdateRule
from jaxfc.training.settings import MOST_STEPS, RunSettings

MOST_LAYERS = 256  # that a program spells out: these take half a minute and a gigabyte to compile


def training_bytes(
    net: Network,
    rule: UpdateRule,
    hyper: Mapping[str, Any],
    settings: RunSettings,
    data: Dataset,
    members: int = 1,
    streamed: bool = False,
) -> dict[str, int]:
    """About how many bytes a training takes, by what they are for.

    Args:
        net: the network.
        rule: the update rule.
        hyper: its hyper-parameters.
        settings: of which the batch's parts and the epochs count.
        data: the data set.
        members: of a population, how many train at once.
        streamed: inputs stay where they are, and are sent window by window.

    >>> from jaxfc import FCNet, load
    >>> from jaxfc.optim import adam
    >>> needs = training_bytes(FCNet(64, (1000,), 10), adam, {}, RunSettings(), load("digits"))
    >>> needs["parameters"], needs["slots of the rule"]
    (300040, 600080)
    """
    costs = cost(net)
    parameters = costs.parameters * jnp.dtype(getattr(net, "param_dtype", np.float32)).itemsize
    rows = settings.batch_size // max(settings.accumulate, 1)
    measured = min(ROWS, len(data.x_val))
    batch, measuring = (n * (4 * net.input_dim + costs.activation_bytes) for n in (rows, measured))
    steps = settings.epochs * (len(data.x_train) // settings.batch_size)
    arrays = [getattr(data, f"{part}_{split}") for part in ("yw" if streamed else "xyw") for split in ("train", "val")]
    return {
        "data": sum(each.nbytes for each in arrays if each is not None),
        "parameters": members * parameters,
        "gradients": members * parameters,
        "slots of the rule": members * round(slots(rule, hyper) * parameters),
        "the best parameters": members * parameters * 2,  # those of before, of which one is chosen
        "what is drawn or copied meanwhile": members * parameters,
        "activations": members * max(batch, measuring),
        "the course of the loss": members * 4 * steps,
    }


def slots(rule: UpdateRule, hyper: Mapping[str, Any]) -> float:
    """How many numbers a rule keeps for each parameter, as it keeps them for a small matrix.

    >>> from jaxfc.optim import adam, sgd
    >>> slots(adam, {}), slots(sgd, {"learning_rate": 0.1})
    (2.0, 0.0)
    """
    like = [jax.ShapeDtypeStruct((64, 64), jnp.float32)]
    try:
        state = jax.eval_shape(lambda params: rule.init(params, **hyper), like)
    except Exception:  # it looks at names or values; or it is wrong, which is said where the training begins
        return 2.0
    return sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.size >= 64) / 64**2


def check_needs(
    net: Network,
    rule: UpdateRule,
    hyper: Mapping[str, Any],
    settings: RunSettings,
    data: Dataset,
    device: Any = None,
    streamed: bool = False,
) -> None:
    """Raise unless a training can have what it needs, as far as that is known beforehand.

    Args:
        net: the network.
        rule: the update rule.
        hyper: its hyper-parameters.
        settings: how it is trained.
        data: what it is trained on.
        device: where; by default the first.
        streamed: see `training_bytes`.

    Raises:
        OutOfMemoryError: it needs more memory than is free.
        ValueError, TypeError: a hyper-parameter that is no number, or none that the device can hold.

    >>> from jaxfc import FCNet, load
    >>> from jaxfc.optim import adam
    >>> check_needs(FCNet(64, (10**7,) * 2, 10), adam, {}, RunSettings(), load("digits"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jaxfc.errors.OutOfMemoryError: training this network needs about 2.8 PB of memory (slots of the rule 800 TB, ...
    """
    check_held(net, hyper)
    _check_memory(training_bytes(net, rule, hyper, settings, data, streamed=streamed), device)


def check_network_needs(net: Network) -> None:
    """Raise what can be known of a network alone, before it is traced.

    Raises:
        OutOfMemoryError: its parameters and their gradients need more memory than is free.
        ValueError: too many layers to compile, or a number that the device cannot hold; the bound is named.

    >>> from jaxfc import FCNet
    >>> check_network_needs(FCNet(64, (8,), 10, reg=1e39))
    Traceback (most recent call last):
    ValueError: reg=1e+39 must be 0 or from 1.2e-38 to 3.4e+38 in size: float32 holds no other numbers
    """
    check_depth(net)
    check_held(net, net)
    if hasattr(net, "cost"):  # of others it takes a trace to know
        parameters = net.cost().parameters * jnp.dtype(getattr(net, "param_dtype", np.float32)).itemsize
        _check_memory({"parameters": parameters, "gradients": parameters, "the best parameters": parameters}, None)


def _check_memory(needs: Mapping[str, int], device: Any) -> None:
    remedy = "choose fewer or narrower layers, smaller batches, or fewer rows"
    check_memory("training this network", needs, remedy, jax.local_devices()[0] if device is None else device)


def check_depth(net: Network) -> None:
    """Raise a ValueError for a network of more layers than a compiler takes in a reasonable time.

    >>> from jaxfc import FCNet
    >>> check_depth(FCNet(64, (8,) * 1000, 10))
    Traceback (most recent call last):
    ValueError: 1001 layers would take some 6 minutes to compile, and 256 are the most that are tried: use fewer
    """
    layers = getattr(net, "num_layers", 1)
    if layers > MOST_LAYERS:
        # Measured: 64 layers take 7 s, 128 take 13, 256 take 34.
        minutes = (0.05 * layers + 3e-4 * layers**2) / 60
        raise ValueError(
            f"{layers} layers would take some {minutes:.0f} minutes to compile, and {MOST_LAYERS} are the most that "
            "are tried: use fewer"
        )


def check_held(net: Network, numbers: Any) -> None:
    """Raise a ValueError for a number that would become infinite, or nothing, in the type that a network computes in.

    Args:
        net: the network.
        numbers: a description, or hyper-parameters by name.

    >>> from jaxfc import FCNet
    >>> check_held(FCNet(4, (), 3), {"learning_rate": 1e-60})
    Traceback (most recent call last):
    ValueError: learning_rate=1e-60 must be 0 or from 1.2e-38 to 3.4e+38 in size: float32 holds no other numbers
    """
    kind = np.dtype(wider(dtype(net), getattr(net, "param_dtype", np.float32)))
    least, most = (float(bound) for bound in (np.finfo(kind).tiny, np.finfo(kind).max))
    for name, value in _named(numbers):
        if name.endswith("_steps") and isinstance(value, int) and value > MOST_STEPS:
            raise ValueError(f"{name}={shortened(str(value))} must be at most {MOST_STEPS}: steps have 32 bits")
        if not isinstance(value, Real) or isinstance(value, bool):
            continue
        if value and not least <= abs(value) <= most:
            raise ValueError(
                f"{name}={shortened(str(value))} must be 0 or from {least:.2g} to {most:.2g} in size: "
                f"{kind.name} holds no other numbers"
            )


def _named(numbers: Any) -> list[tuple[str, Any]]:
    """Numbers by their names, wherever they are."""
    if dataclasses.is_dataclass(numbers):
        return [(field.name, getattr(numbers, field.name)) for field in dataclasses.fields(numbers)]
    named: list[tuple[str, Any]] = []
    for name, value in numbers.items():
        if isinstance(value, str | list):
            shown = f"={shortened(repr(value))}" if isinstance(value, str) else ""  # a list may be of any depth
            raise TypeError(f"{name}{shown} must be a number, and is a {type(value).__name__}")
        inner = value._asdict() if hasattr(value, "_asdict") else value
        named += _named(inner) if isinstance(inner, Mapping) else [(name, value)]
    return named
