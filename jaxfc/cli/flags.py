"""Flags that are more than fields: `--compile-cache`, and those of `jaxfc search`, each of which may be a space."""

import dataclasses
import os
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro

from jaxfc.parallel import Joining
from jaxfc.search.candidates import NAMES
from jaxfc.search.config import SearchConfig, SearchSettings
from jaxfc.training.config import TrainConfig

CACHE_VARIABLE = "JAXFC_COMPILE_CACHE"
ON, OFF = "on", "off"

CacheFlag = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[FOLDER]",
        instance_from_str=lambda words: words[0] if words else ON,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
    tyro.conf.arg(
        help="Keep compiled programs for the next command: in the user's cache folder, or in FOLDER "
        f"(default: ${CACHE_VARIABLE}, else off)."
    ),
]


def asked_for() -> str:
    """What the environment says of the compilation cache: on, off, or a folder."""
    return os.environ.get(CACHE_VARIABLE) or OFF


@dataclass(frozen=True)
class ProcessFlags:
    """The flags by which several processes, on one machine or many, do one run."""

    distributed: bool = False
    """Do the run in several processes, as the cluster's environment says: Slurm, Kubernetes, Open MPI, Cloud TPU."""
    coordinator: str | None = None
    """Where there is no such environment: where process 0 listens, HOST:PORT."""
    num_processes: int | None = None
    """With --coordinator: how many processes there are."""
    process_id: int | None = None
    """With --coordinator: which of them this is, from 0."""
    join_timeout: int = 300
    """Seconds to wait for the other processes at the start."""

    def joining(self) -> Joining:
        """How this process finds the others."""
        return Joining(self.distributed, self.coordinator, self.num_processes, self.process_id, self.join_timeout)


class SpaceText(str):
    """A space as the command line has it."""


def _read(words: list[str]) -> SpaceText:
    if not re.match("[a-z]+:", words[0]):
        raise ValueError(f"{words[0]!r} is no space")
    return SpaceText(words[0])


Space = Annotated[
    SpaceText,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="SPACE",
        instance_from_str=_read,
        is_instance=lambda value: isinstance(value, SpaceText),
        str_from_instance=lambda value: [str(value)],
    ),
]


def _widened() -> type:
    """`TrainConfig` with fields that may hold spaces."""
    types = {field.name: Space | field.type for field in dataclasses.fields(TrainConfig) if field.name in NAMES}
    values = {field.name: field.default for field in dataclasses.fields(TrainConfig) if field.name in NAMES}
    body = {"__annotations__": types, "__module__": __name__, "__doc__": TrainConfig.__doc__, **values}
    return dataclass(frozen=True)(type("CandidateFlags", (TrainConfig,), body))


CandidateFlags: Any = _widened()


def config_of(candidates: Any, method: SearchSettings) -> SearchConfig:
    """The settings of a search that flags stand for."""
    values = {field.name: getattr(candidates, field.name) for field in dataclasses.fields(TrainConfig)}
    spaces = {name: str(value) for name, value in values.items() if isinstance(value, SpaceText)}
    train = TrainConfig(**{name: value for name, value in values.items() if name not in spaces})
    return SearchConfig(train=train, spaces=spaces, **vars(method))


def flags_of(config: SearchConfig) -> tuple[Any, SearchSettings]:
    """The flags that stand for the settings of a search."""
    spaces = {name: SpaceText(text) for name, text in config.spaces.items()}
    candidates = replace(CandidateFlags(**vars(config.train)), **spaces)
    method = {field.name: getattr(config, field.name) for field in dataclasses.fields(SearchSettings)}
    return candidates, SearchSettings(**method)
