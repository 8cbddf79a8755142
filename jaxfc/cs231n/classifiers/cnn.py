"""Convolutional networks are out of scope; importing this says so."""

raise ImportError("jaxfc.cs231n.classifiers.cnn: convolutional networks are out of scope of jaxfc")
