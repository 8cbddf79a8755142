"""A griffe extension: shows `affine = differentiable(affine_forward, …)` as the function that it is."""

from typing import Any

from griffe import Attribute, Docstring, Extension, Function, GriffeLoader, Module


class DifferentiableFunctions(Extension):
    """Gives what `differentiable` makes the parameters of its forward function, and a line that leads to the pair."""

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        """Replace the attributes of `layers` that hold such functions."""
        layers = pkg["layers"]
        for name, attribute in list(layers.attributes.items()):
            if str(attribute.value).startswith("differentiable("):
                layers.set_member(name, _function(layers, attribute))


def _function(layers: Module, attribute: Attribute) -> Function:
    name = attribute.name
    function = Function(name, lineno=attribute.lineno, endlineno=attribute.endlineno)
    function.parameters = layers[f"{name}_forward"].parameters
    function.docstring = Docstring(
        f"What a network calls: the output of [`{name}_forward`][jaxfc.layers.{name}_forward] alone, differentiated by "
        f"[`{name}_backward`][jaxfc.layers.{name}_backward].",
        parent=function,
    )
    return function
