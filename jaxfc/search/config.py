"""The settings of a search: what the flags of `jaxfc search` are made of, and `search.json` holds."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxfc.errors import unknown_name
from jaxfc.search.candidates import check_names
from jaxfc.search.methods import METHODS, Method
from jaxfc.search.spaces import Settings, grid, parse, sample
from jaxfc.training.config import TrainConfig, check_types, read_settings

SEARCH = "search.json"
DEFAULT_SPACES = {
    "learning_rate": "loguniform:1e-4:1e-2",
    "reg": "loguniform:1e-6:1e-3",
    "dropout_keep_ratio": "uniform:0.5:1",
}


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes about it, whatever is searched."""

    trials: int = 16
    """Number of candidates drawn from the spaces."""
    grid: bool = False
    """Try every combination instead: of choice, integers, seeds, linspace, logspace."""
    method: str = "random"
    """random (all train to the end), halving or hyperband (most stop at a rung)."""
    eta: int = 3
    """Of halving and hyperband: 1 in so many goes on from each rung, to train so many times as long."""
    min_epochs: int = 1
    """Of halving and hyperband: the epochs before the first rung."""
    folds: int = 1
    """Cross-validation: train each candidate so many times, on the training rows but one part each."""
    ensemble: int = 1
    """Join so many of the best candidates into one model, by the mean of their predictions."""
    greedy: bool = False
    """Join not the best, but those with which the mean's predictions for the validation rows are best, some of them
    several times."""
    search_seed: int = 0
    """Seed of the draws from the spaces."""
    then_train: str | None = None
    """Then train the best candidate's settings on all rows, changed by these flags of train: --then-train="--epochs 5",
    or --then-train="" for none."""
    chunk: int | None = None
    """Networks in one program (default: what suits the device)."""
    pad: bool | None = None
    """Train networks of several widths and depths as one program, padded to the largest (default: where that is
    faster)."""


@dataclass(frozen=True)
class SearchConfig(SearchSettings):
    """The settings of a search: how it goes about it, those that its candidates share, and what is searched."""

    train: TrainConfig = field(default_factory=TrainConfig)
    spaces: dict[str, str] = field(default_factory=dict)
    study: str | None = None  # the name of the study whose workers share the search; where it is may be a secret

    @property
    def searched(self) -> dict[str, str]:
        """The space of each name searched, as the command line has it."""
        return self.spaces or DEFAULT_SPACES

    def candidates(self) -> list[Settings]:
        """The settings of each candidate.

        Raises:
            ValueError: no trials, an unknown name, or what is no space.
        """
        check_names(self.searched)
        spaces = {name: parse(name, text) for name, text in self.searched.items()}
        return grid(spaces) if self.grid else sample(spaces, self.trials, seed=self.search_seed)

    def how(self) -> Method:
        """The method.

        Raises:
            ValueError: an unknown name, or numbers out of range.
        """
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        return METHODS[self.method]() if self.method == "random" else METHODS[self.method](self.eta, self.min_epochs)

    def to_json(self) -> str:
        """The settings as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "SearchConfig":
        """Read the settings that `to_json` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            FormatError: it is no such file.
        """

        def make(values: dict[str, Any]) -> SearchConfig:
            check_types(SearchSettings, values)
            # A search that was begun before there was padding goes on without.
            return cls(**{"pad": False, **values, "train": TrainConfig.from_values(values["train"])})

        return read_settings(path, make, of="search")


PHOTOGRAPHS = SearchConfig(
    train=TrainConfig(
        data="cifar10",
        augment=("mirror",),
        hidden=(1024, 512),
        normalization="batchnorm",
        label_smoothing=0.1,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_epochs=1.0,
        batch_size=256,
        epochs=30,
    ),
    spaces={
        "learning_rate": "loguniform:1.5e-3:4e-3",
        "reg": "loguniform:1e-6:1e-4",
        "dropout_keep_ratio": "uniform:0.65:0.8",
        "seed": "integers:0:999",
    },
    trials=3,
    ensemble=3,
)
"""What a search of CIFAR-10 is where no space is given."""
