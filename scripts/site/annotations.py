"""A griffe extension: writes annotations out, so that a reader sees shapes and not a module's short names for them."""

import copy
from dataclasses import fields
from typing import Any

from griffe import Expr, ExprName, ExprSubscript, Extension, Function, GriffeLoader, Module, Object


class WrittenOutAnnotations(Extension):
    """Replaces names such as `Batch` by what they stand for, `Float[Array, 'batch features']`."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        """Rewrite the annotations of all functions of the package."""
        self.shapes = {
            attribute.path: attribute.value
            for module in _modules(pkg)
            for attribute in module.attributes.values()
            if isinstance(attribute.value, ExprSubscript) and attribute.value.canonical_path.startswith("jaxtyping.")
        }
        for module in _modules(pkg):
            for function in _functions(module):
                for parameter in function.parameters:
                    parameter.annotation = self._written_out(parameter.annotation)
                function.returns = self._written_out(function.returns)

    def _written_out(self, part: Any) -> Any:
        if isinstance(part, ExprName) and part.canonical_path in self.shapes:
            return self._written_out(self.shapes[part.canonical_path])
        if isinstance(part, str):  # jaxtyping wants ' features' for a single axis; a reader does not
            return part.replace("' ", "'")
        if isinstance(part, list | tuple):
            return type(part)(self._written_out(each) for each in part)
        if not isinstance(part, Expr):
            return part
        new = copy.copy(part)
        for field in fields(part):
            if field.name != "parent":
                setattr(new, field.name, self._written_out(getattr(part, field.name)))
        return new


def _modules(pkg: Module) -> list[Module]:
    return [pkg, *(inner for module in pkg.modules.values() if not module.is_alias for inner in _modules(module))]


def _functions(scope: Object) -> list[Function]:
    own = [function for function in scope.functions.values() if not function.is_alias]
    classes = (each for each in scope.classes.values() if not each.is_alias)
    return own + [function for each in classes for function in _functions(each)]
