"""What makes a run the run it is, as its checkpoint has it."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxfc.data import Dataset
from jaxfc.data.augment import spell
from jaxfc.description import describe, first_difference
from jaxfc.training.settings import RunSettings

EXTENSIBLE = ("epochs", "total_steps")  # what `extend` may change


def identity(
    net: Any, task: Any, rule: Any, hyper: Mapping[str, Any], settings: RunSettings, data: Dataset
) -> dict[str, Any]:
    """A run's identity: network, task, rule, numbers, order of rows, data, and versions.

    >>> from jaxfc import FCNet, load
    >>> from jaxfc.optim import adam
    >>> from jaxfc.tasks import Classification
    >>> run = identity(FCNet(64, (8,), 10), Classification(), adam, {}, RunSettings(), load("digits"))
    >>> sorted(run)
    ['data', 'hyper', 'network', 'rule', 'settings', 'task', 'versions']
    """
    beside = {"data": {"name": data.name, "fingerprint": data.fingerprint()}, "versions": versions()}
    return json.loads(json.dumps(described_run(net, task, rule, hyper, settings) | beside, default=str))


def described_run(net: Any, task: Any, rule: Any, hyper: Mapping[str, Any], settings: RunSettings) -> dict[str, Any]:
    """What a run is, beside its data: network, task, rule, numbers, order of rows.

    >>> from jaxfc import Classification, FCNet
    >>> from jaxfc.optim import adam
    >>> described_run(FCNet(64, (8,), 10), Classification(), adam, {}, RunSettings())["network"]["hidden_dims"]
    [8]
    """
    mine = asdict(settings) | {"augment": [each if isinstance(each, str) else spell(each) for each in settings.augment]}
    return {
        "network": describe(net),
        "task": describe(task),
        "rule": describe(rule),
        "hyper": describe(dict(hyper)),
        "settings": mine,
    }


def versions() -> dict[str, str]:
    """The versions of what numbers depend on.

    >>> list(versions())
    ['jaxfc', 'jax', 'numpy']
    """
    import jaxfc

    return {"jaxfc": jaxfc.__version__, "jax": jax.__version__, "numpy": np.__version__}


def check_same(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str | Path, *, extend: bool = False) -> None:
    """Raise unless a file is of this very run; other versions are only warned of.

    Args:
        ours: the identity of the run that asks.
        theirs: that in the file.
        path: the file, for the message.
        extend: another number of epochs is allowed.

    Raises:
        ValueError: they differ; the first difference is named.

    >>> begun, now = {"settings": {"epochs": 5, "seed": 0}}, {"settings": {"epochs": 9, "seed": 0}}
    >>> check_same(now, begun, "run.safetensors", extend=True)
    """
    ours, theirs = dict(ours), dict(theirs)
    mine, others = ours.pop("versions", {}), theirs.pop("versions", {})
    if extend:
        ours, theirs = _without(ours), _without(theirs)
    found = first_difference(theirs, ours)
    if found is not None:
        name, begun, now = found
        hint = ""
        if name.rpartition(".")[2] in EXTENSIBLE:
            hint = "; more epochs than first planned are trained with extend=True (--extend)"
        raise ValueError(
            f"{path} is of another run: it was begun with {name}={_short(begun)}, not {_short(now)}{hint}: "
            "go on with the same settings, or begin anew elsewhere"
        )
    for name, version in mine.items():
        if others.get(name) != version:
            warnings.warn(
                f"{path} was begun with {name} {others.get(name)}, this is {version}: the last digits may differ",
                stacklevel=3,
            )


def _without(value: Any) -> Any:
    """An identity without what `extend` may change."""
    if not isinstance(value, dict):
        return value
    return {name: _without(each) for name, each in value.items() if name not in EXTENSIBLE}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
