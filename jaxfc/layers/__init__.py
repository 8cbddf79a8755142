r"""Layers as pairs of plain functions, and the differentiable functions made of them.

Backpropagation in one paragraph. Let $L$ be the loss, a number. For every array $x$ on the way to it,
write $dx$ for $\partial L / \partial x$, an array of $x$'s shape. A layer $y = f(x)$ that is handed
$dy$ can compute $dx$ from it by the chain rule, $dx_i = \sum_j dy_j \, \partial y_j / \partial x_i$:
a vector-Jacobian product (VJP). Running the layers' VJPs from last to first turns $dL = 1$ into the
gradient of everything.

So each layer here is a pair:

- `<name>_forward(*inputs, *constants) -> (out, cache)`: the output, and whatever the VJP will need;
- `<name>_backward(dout, cache) -> gradients`, in the order of the inputs, each of its input's shape;

and `<name>(*inputs, *constants) -> out`, which `differentiable` makes of the pair, is what a network
calls; JAX differentiates it by the hand-written VJP. Constants (labels, keys, eps, keep ratios …) get
no gradient. `plain_autodiff` replaces all hand-written VJPs by JAX's own differentiation.

Conventions: arrays are batch-first, `x` is `(batch, features)`, $N$ is the batch size, `w` is
`(in, out)`, all sums over the batch are written $\sum_i$. Arithmetic runs in the dtype of `x`; sums,
means, variances and losses in at least float32. `<name>` checks shapes when it is
traced; the pair itself does not.

The chapters, in the order in which a network meets them: `embeddings` (of a table's numbers), `linear`,
`normalization`, `activations`, `stochastic` (what drops at random), the losses in `classification` and
`regression`, and `penalties`.
`vjp` joins the pairs, `threefry` draws the random bits, `common` holds what chapters share.

Sources: the CS231n notes (https://cs231n.github.io/optimization-2 and neural-networks-2), and the
papers named with the layers.
"""

from jaxfc.layers.activations import (
    ACTIVATIONS,
    gelu,
    gelu_backward,
    gelu_forward,
    leaky_relu,
    leaky_relu_backward,
    leaky_relu_forward,
    relu,
    relu_backward,
    relu_forward,
    sigmoid,
    sigmoid_backward,
    sigmoid_forward,
    silu,
    silu_backward,
    silu_forward,
    tanh,
    tanh_backward,
    tanh_forward,
)
from jaxfc.layers.classification import (
    by_class,
    sigmoid_loss,
    sigmoid_loss_backward,
    sigmoid_loss_forward,
    softmax_loss,
    softmax_loss_backward,
    softmax_loss_forward,
    svm_loss,
    svm_loss_backward,
    svm_loss_forward,
)
from jaxfc.layers.embeddings import (
    columnwise_affine,
    columnwise_affine_backward,
    columnwise_affine_forward,
    periodic,
    periodic_backward,
    periodic_forward,
    piecewise_linear,
    piecewise_linear_backward,
    piecewise_linear_forward,
)
from jaxfc.layers.linear import affine, affine_backward, affine_forward
from jaxfc.layers.normalization import (
    batchnorm,
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_test,
    batchnorm_test_backward,
    batchnorm_test_forward,
    layernorm,
    layernorm_backward,
    layernorm_forward,
    rmsnorm,
    rmsnorm_backward,
    rmsnorm_forward,
)
from jaxfc.layers.penalties import l2_penalty, l2_penalty_backward, l2_penalty_forward
from jaxfc.layers.regression import (
    huber_loss,
    huber_loss_backward,
    huber_loss_forward,
    quantile_loss,
    quantile_loss_backward,
    quantile_loss_forward,
    squared_loss,
    squared_loss_backward,
    squared_loss_forward,
)
from jaxfc.layers.stochastic import (
    dropout,
    dropout_backward,
    dropout_forward,
    dropout_mask,
    stochastic_depth,
    stochastic_depth_backward,
    stochastic_depth_forward,
)
from jaxfc.layers.vjp import differentiable, plain_autodiff

__all__ = [
    "ACTIVATIONS", "affine", "affine_backward", "affine_forward", "batchnorm", "batchnorm_backward",
    "batchnorm_forward", "batchnorm_test", "batchnorm_test_backward", "batchnorm_test_forward", "by_class",
    "columnwise_affine", "columnwise_affine_backward", "columnwise_affine_forward", "differentiable",
    "dropout", "dropout_backward",
    "dropout_forward", "dropout_mask", "gelu", "gelu_backward", "gelu_forward", "huber_loss", "huber_loss_backward",
    "huber_loss_forward", "l2_penalty", "l2_penalty_backward", "l2_penalty_forward", "layernorm",
    "layernorm_backward", "layernorm_forward", "leaky_relu", "leaky_relu_backward", "leaky_relu_forward",
    "periodic", "periodic_backward", "periodic_forward", "piecewise_linear", "piecewise_linear_backward",
    "piecewise_linear_forward", "plain_autodiff", "quantile_loss", "quantile_loss_backward",
    "quantile_loss_forward", "relu", "relu_backward", "relu_forward", "rmsnorm", "rmsnorm_backward",
    "rmsnorm_forward", "sigmoid", "sigmoid_backward", "sigmoid_forward", "sigmoid_loss", "sigmoid_loss_backward",
    "sigmoid_loss_forward", "silu", "silu_backward", "silu_forward", "softmax_loss", "softmax_loss_backward",
    "softmax_loss_forward", "squared_loss", "squared_loss_backward", "squared_loss_forward", "stochastic_depth",
    "stochastic_depth_backward", "stochastic_depth_forward", "svm_loss", "svm_loss_backward", "svm_loss_forward",
    "tanh", "tanh_backward", "tanh_forward",
]  # fmt: skip
