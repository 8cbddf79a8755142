"""Descriptions: frozen dataclasses that say what a network or a task is, and are pytrees.

Whatever changes a shape or a program is static; whatever is only a number is a leaf, so that changing it
compiles nothing and `jax.vmap` runs over it. `described` makes such a class, `number` marks its leaves;
`describe` and `restore` are its way into a file and back.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from jaxfc.errors import FormatError, check_number

T = TypeVar("T")


def number(default: Any = dataclasses.MISSING, **interval: Any) -> Any:
    """Mark a field of a `described` class as a number: a leaf, not a part of the structure.

    A leaf may be None ("no such thing"), and then is part of the structure; so is a name in its place.

    Args:
        default: the field's default.
        **interval: `low`, `high` and `exclude`, as `jaxfc.errors.check_number` takes them.

    >>> @described
    ... class Scaled:
    ...     width: int
    ...     scale: float = number(1.0, low=0)
    >>> jax.tree.leaves(Scaled(3, scale=2))
    [2.0]
    """
    return dataclasses.field(default=default, metadata={"number": interval})


@dataclass_transform(frozen_default=True, field_specifiers=(number,))
def described(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass and a pytree; see `number`.

    Static fields must be hashable (lists become tuples). Numbers are checked when an instance is made,
    and whole ones become floats: `reg=0` and `reg=1e-4` are numbers of one kind.

    Raises:
        TypeError: (when an instance is made) a static field that is not hashable, a number that is none.
        ValueError: a number out of its interval.

    >>> @described
    ... class Scaled:
    ...     width: int
    ...     scale: float = number(1.0, low=0)
    >>> Scaled(3, scale=-1)
    Traceback (most recent call last):
    ValueError: scale=-1 must be a finite number in [0, inf)
    >>> jax.tree.structure(Scaled(3)) == jax.tree.structure(Scaled(3, scale=2.0))
    True
    """
    own_check = cls.__dict__.get("__post_init__")

    def check(self: Any) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if own_check is not None:
            own_check(self)

    cls.__post_init__ = check
    made = dataclasses.dataclass(frozen=True)(cls)
    leaves = tuple(field.name for field in dataclasses.fields(made) if "number" in field.metadata)
    static = tuple(field.name for field in dataclasses.fields(made) if "number" not in field.metadata)

    def flatten(self: Any) -> tuple[tuple, tuple]:
        values = {name: getattr(self, name) for name in leaves}
        names = tuple((name, value) for name, value in values.items() if isinstance(value, str))
        keyed = tuple(
            (jax.tree_util.GetAttrKey(name), None if isinstance(value, str) else value)
            for name, value in values.items()
        )
        return keyed, (tuple(getattr(self, name) for name in static), names)

    def unflatten(structure: tuple, values: Iterable) -> Any:
        # Not through __init__: leaves may be tracers, or whatever else a tree is mapped to.
        self = object.__new__(made)
        for name, value in (*zip(static, structure[0], strict=True), *zip(leaves, values, strict=True), *structure[1]):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(made, flatten, unflatten)
    return made


def _checked(field: dataclasses.Field, value: Any) -> Any:
    interval = field.metadata.get("number")
    if interval is None:
        value = tuple(value) if isinstance(value, list) else value
        try:
            hash(value)
        except TypeError:
            raise TypeError(f"{field.name}={value!r} must be hashable: it is part of a program's identity") from None
        return value
    if value is None or isinstance(value, str):
        return value  # part of the structure; whether it is allowed, the class says
    check_number(field.name, value, **interval)
    return float(value) if isinstance(value, int) else value


# ---------------------------------------------------------------------------------------------------
# In files
# ---------------------------------------------------------------------------------------------------


def describe(value: Any) -> Any:
    """A description as JSON has it; classes and functions of a user's own by their names.

    A field whose metadata say `"described": False` is left out.

    >>> @described
    ... class Scaled:
    ...     width: int
    ...     scale: float = number(1.0, low=0)
    >>> describe(Scaled(3))
    {'type': 'Scaled', 'width': 3, 'scale': 1.0}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = [field.name for field in dataclasses.fields(value) if field.metadata.get("described", True)]
        return {"type": type(value).__name__, **{name: describe(getattr(value, name)) for name in named}}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {"type": type(value).__name__, **{name: describe(each) for name, each in value._asdict().items()}}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        return array.item() if array.ndim == 0 else {"array": array.tolist(), "dtype": array.dtype.name}
    if isinstance(value, dict):
        return {str(key): describe(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [describe(each) for each in value]
    if callable(value):
        return {"function": getattr(value, "__name__", type(value).__name__)}
    return value


def restore(value: Any, known: Iterable[Any]) -> Any:
    """What `describe` described, from the classes and functions handed over.

    Args:
        value: JSON. It never names code to import.
        known: the classes and functions that it may name.

    Raises:
        FormatError: it names another one.

    >>> @described
    ... class Scaled:
    ...     width: int
    >>> restore({"type": "Scaled", "width": 3}, [Scaled])
    Scaled(width=3)
    >>> restore({"type": "Scaled", "width": 3}, [])
    Traceback (most recent call last):
    jaxfc.errors.FormatError: it names 'Scaled', which is not of this library: pass it in known=[Scaled]
    """
    by_name = {each.__name__: each for each in known}

    def find(name: str) -> Any:
        if name not in by_name:
            raise FormatError(f"it names {name!r}, which is not of this library: pass it in known=[{name}]")
        return by_name[name]

    def inner(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(inner, value))
        if not isinstance(value, dict):
            return value
        if "function" in value:
            return find(value["function"])
        if "array" in value:
            return jnp.asarray(value["array"], value["dtype"])
        if "type" in value:
            return find(value["type"])(**{name: inner(each) for name, each in value.items() if name != "type"})
        return {name: inner(each) for name, each in value.items()}

    return inner(value)


def first_difference(ours: Any, theirs: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first place at which two descriptions differ: its path, and both values; None where they are equal.

    >>> first_difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ('b.c', 2, 3)
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in dict.fromkeys([*ours, *theirs]):
            place = f"{path}.{name}" if path else str(name)
            found = first_difference(ours.get(name), theirs.get(name), place)
            if found is not None:
                return found
        return None
    return None if ours == theirs else (path, ours, theirs)
