"""The CS231n assignment's names, on this library's mathematics.

A notebook written for the assignment runs with `cs231n.` replaced by `jaxfc.cs231n.` in its imports. At
this face, arrays are NumPy's, parameters are writable, configuration dicts are changed in place, weights
and batches come from NumPy's global random stream in the assignment's order, and float64 works whatever
JAX's settings. Behind it every number is computed by the pairs and rules of `jaxfc.layers`,
`jaxfc.networks` and `jaxfc.optim`, compiled.

Convolutional networks are out of scope: their names raise an ImportError that says so.
"""
