"""Convolutional networks are out of scope; importing this says so."""

raise ImportError("jaxfc.cs231n.fast_layers: convolutional networks are out of scope of jaxfc")
