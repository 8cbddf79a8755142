"""A griffe extension: shows the fields of a NamedTuple as the parameters that they are."""

from typing import Any

from griffe import Class, Extension, Function, Parameter, ParameterKind, Parameters


class NamedTuples(Extension):
    """Gives every NamedTuple the signature of its constructor."""

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Add an `__init__` made of the fields."""
        if "NamedTuple" not in map(str, cls.bases):
            return
        fields = [
            Parameter(
                field.name,
                annotation=field.annotation,
                kind=ParameterKind.positional_or_keyword,
                default=None if field.value is None else str(field.value),
            )
            for field in cls.attributes.values()
            if field.annotation is not None
        ]
        cls.set_member("__init__", Function("__init__", parameters=Parameters(Parameter("self"), *fields)))
