"""Twins of the layers, written as directly as possible, for JAX to differentiate."""

import jax
import jax.numpy as jnp
import numpy as np


def affine(x, w, b):
    return jnp.einsum("ni,io->no", x, w) + b


def relu(x):
    return jnp.where(x > 0, x, 0.0)


def leaky_relu(x, slope=0.01):
    return jnp.where(x > 0, x, slope * x)


def tanh(x):
    return (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x))


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def silu(x):
    return x / (1 + jnp.exp(-x))


def gelu(x):
    return x * 0.5 * (1 + jax.scipy.special.erf(x / jnp.sqrt(2.0)))


def batchnorm(x, gamma, beta, eps=1e-5):
    mean = x.sum(axis=0) / len(x)
    var = ((x - mean) ** 2).sum(axis=0) / len(x)
    return gamma * (x - mean) / jnp.sqrt(var + eps) + beta


def batchnorm_test(x, gamma, beta, mean, var, eps=1e-5):
    return gamma * (x - mean) / jnp.sqrt(var + eps) + beta


def layernorm(x, gamma, beta, eps=1e-5):
    return gamma * batchnorm(x.T, 1.0, 0.0, eps).T + beta


def softmax_loss(scores, y, weights=None, label_smoothing=0.0):
    p = jnp.exp(scores) / jnp.exp(scores).sum(axis=1, keepdims=True)
    weights = jnp.ones(len(y)) if weights is None else weights
    hot = jnp.eye(scores.shape[1])[y]
    targets = (1 - label_smoothing) * hot + label_smoothing / scores.shape[1]
    return (weights * -(targets * jnp.log(p)).sum(axis=1)).sum() / weights.sum()


def svm_loss(scores, y, weights=None):
    y = np.asarray(y)
    weights = jnp.ones(len(y)) if weights is None else weights
    total = 0.0
    for i in range(len(y)):
        for c in range(scores.shape[1]):
            if c != y[i]:
                total += weights[i] * jnp.maximum(0.0, scores[i, c] - scores[i, y[i]] + 1)
    return total / weights.sum()


def l2_penalty(w, reg):
    return reg / 2 * (w**2).sum()


def network_loss(params, x, y, *, normalization, activation, reg):
    """The training loss of a network without dropout."""
    for layer in params[:-1]:
        x = affine(x, layer["w"], layer["b"])
        if normalization is not None:
            x = {"batchnorm": batchnorm, "layernorm": layernorm}[normalization](x, layer["gamma"], layer["beta"])
        x = {"relu": relu, "tanh": tanh, "gelu": gelu}[activation](x)
    scores = affine(x, params[-1]["w"], params[-1]["b"])
    return softmax_loss(scores, y) + sum(l2_penalty(layer["w"], reg) for layer in params)
