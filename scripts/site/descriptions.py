"""A griffe extension: shows the fields of a description, a network's or a task's, as the parameters that they are."""

from typing import Any

from griffe import Attribute, Class, ExprCall, Extension, Function, Parameter, ParameterKind, Parameters

DECORATORS = {"described", "network"}


class Descriptions(Extension):
    """Gives every class that is decorated as one the signature of its constructor."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Add an `__init__` made of the fields."""
        if not DECORATORS & {str(decorator.value).rpartition(".")[2] for decorator in cls.decorators}:
            return
        fields = [
            Parameter(
                field.name,
                annotation=field.annotation,
                kind=ParameterKind.positional_or_keyword,
                default=_default(field),
            )
            for field in cls.attributes.values()
            if field.annotation is not None and not str(field.annotation).startswith("ClassVar")
        ]
        cls.set_member("__init__", Function("__init__", parameters=Parameters(Parameter("self"), *fields)))


def _default(field: Attribute) -> str | None:
    """A field's default; that of `number(default, low=...)` is its first argument."""
    value = field.value
    if isinstance(value, ExprCall) and str(value.function) == "number":
        value = value.arguments[0]
    return None if value is None else str(value)
