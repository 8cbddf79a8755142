"""What `jaxfc plan` does: the flags of a training or of a search, planned for a machine that may not be here."""

from collections.abc import Iterable
from typing import Any

import jax

from jaxfc.planning import Plan, plan, plan_search
from jaxfc.planning.topologies import THIS, has_tpu
from jaxfc.search.config import SearchConfig, SearchSettings
from jaxfc.training.config import TrainConfig
from jaxfc.training.runs import allow_float64, load_data

OF_FIT = ("batch_size", "epochs", "sampling", "augment", "accumulate", "ema_decay")


def show(config: SearchConfig, on: str, mesh: str | None, rows: int | None) -> bool:
    """Print the plan of what flags stand for, and return whether it fits.

    Raises:
        ValueError, TypeError, OSError: as a training and a search with these flags; an unknown topology or mesh.
        ModuleNotFoundError: the compiler is not installed.
    """
    if on != THIS and not jax.config.jax_platforms and not has_tpu():
        # JAX would try the TPU's library for a TPU, and complain that there is none.
        jax.config.update("jax_platforms", "cpu")
    allow_float64(config.train)
    where: dict[str, Any] = {"on": on, "mesh": mesh, "rows": rows}
    made = list(_of_search(config, where) if is_search(config) else [_of_training(config.train, where)])
    print("\n\n".join(map(str, made)))
    return all(each.fits for each in made)


def is_search(config: SearchConfig) -> bool:
    """Whether flags stand for a search: one of a search's own is among them, or a space."""
    own = {name: getattr(config, name) for name in vars(SearchSettings())}
    return bool(config.spaces) or SearchSettings(**own) != SearchSettings()


def _of_training(config: TrainConfig, where: dict[str, Any]) -> Plan:
    data = load_data(config)
    net, task, rule, hyper = config.build(data, where["rows"] or len(data.x_train))
    settings = {name: getattr(config, name) for name in OF_FIT}
    how = {"task": task, "hyper": hyper, "class_weight": config.class_weights()}
    return plan(net, rule, data, **how, **settings, **where)


def _of_search(config: SearchConfig, where: dict[str, Any]) -> Iterable[Plan]:
    options = {"method": config.how(), "folds": config.folds, "chunk": config.chunk, "pad": config.pad}
    return plan_search(load_data(config.train), config.train, config.candidates(), **options, **where)
