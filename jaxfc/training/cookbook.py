"""Recipes: settings that go far in a given time, each a file in `jaxfc/recipes` that can be read and overridden.

A recipe says what it is for, how many minutes it has, its settings by the names of `TrainConfig`, and what was reached
with it: on what, in how long, over how many seeds.
"""

import json
from importlib import resources
from typing import Any, NamedTuple

from jaxfc.data import Dataset
from jaxfc.errors import unknown_name
from jaxfc.training.config import TrainConfig

FOLDER = resources.files("jaxfc") / "recipes"


class Recipe(NamedTuple):
    """A recipe.

    Args:
        name: its name.
        about: what it is for.
        images: whether it is for images alone.
        minutes: how long the training has; None where the number of epochs is given.
        reached: what was measured: a line for each, empty where nothing was.
        settings: its settings; all others are the defaults.

    >>> recipe("plain").config.update_rule
    'adamw'
    """

    name: str
    about: str
    images: bool
    minutes: float | None
    reached: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def config(self) -> TrainConfig:
        """The settings of a run by it."""
        return TrainConfig.from_values(self.settings)

    def check(self, data: Dataset) -> None:
        """Raise unless it suits a data set.

        Raises:
            ValueError: it is for images, and the rows are none.

        >>> from jaxfc.data import load
        >>> recipe("plain").check(load("digits"))
        """
        if self.images and data.image_shape is None:
            raise ValueError(f"recipe {self.name!r} is for images, and the rows of {data.name!r} are none: use 'plain'")


def recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: there is none; the nearest is named.

    >>> recipe("plian")
    Traceback (most recent call last):
    ValueError: unknown recipe 'plian': did you mean 'plain'? (one of: cifar10-10m, cifar10-1m, cifar10-2h, ...)
    """
    if name not in (known := recipes()):
        raise unknown_name("recipe", name, known)
    values = json.loads((FOLDER / f"{name}.json").read_text())
    return Recipe(
        name, values["about"], values["images"], values["minutes"], tuple(values["reached"]), values["settings"]
    )


def recipes() -> list[str]:
    """The names of all recipes.

    >>> "cifar10-10m" in recipes()
    True
    """
    return sorted(file.name.removesuffix(".json") for file in FOLDER.iterdir() if file.name.endswith(".json"))
