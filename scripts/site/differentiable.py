"""A griffe extension: shows `affine = differentiable(affine_forward, …)` as the function that it is."""

from typing import Any

from griffe import Attribute, Docstring, Extension, Function, GriffeLoader, Module


class DifferentiableFunctions(Extension):
    """Gives what `differentiable` makes the parameters of its forward function, and a line that leads to the pair."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        """Replace the attributes of the modules of `layers` that hold such functions."""
        for chapter in pkg["layers"].modules.values():
            for name, attribute in list(chapter.attributes.items()):
                if not attribute.is_alias and str(attribute.value).startswith("differentiable("):
                    chapter.set_member(name, _function(chapter, attribute))


def _function(chapter: Module, attribute: Attribute) -> Function:
    name = attribute.name
    function = Function(name, lineno=attribute.lineno, endlineno=attribute.endlineno)
    function.parameters = chapter[f"{name}_forward"].parameters
    function.docstring = Docstring(
        f"What a network calls: the output of [`{name}_forward`][jaxfc.layers.{name}_forward] alone, differentiated by "
        f"[`{name}_backward`][jaxfc.layers.{name}_backward].",
        parent=function,
    )
    return function
