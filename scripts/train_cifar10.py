"""Train a network on CIFAR-10 with the functional API alone: a whole training, to copy and change.

python scripts/train_cifar10.py
python scripts/train_cifar10.py --data digits --hidden 100 --batch-size 32
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

import jaxfc
from jaxfc.data import Dataset, shuffled_plan
from jaxfc.optim import adam
from jaxfc.optim.schedules import Schedule, Scheduled

RULE = Scheduled(adam, "cosine")


class Carry(NamedTuple):
    """What an iteration changes."""

    params: Any
    stats: Any
    opt_state: Any
    key: jax.Array


@partial(jax.jit, donate_argnames="carry")
def train_epoch(net, carry, normalizer, images, labels, plan):
    """Scan over a plan, which holds the row numbers of each batch; return the new carry and the mean loss."""

    def iteration(carry, rows):
        key, dropout_key = jax.random.split(carry.key)
        x, y = normalizer(images[rows], net.dtype), labels[rows]
        gradient = jax.value_and_grad(jaxfc.loss, argnums=1, has_aux=True)
        (loss, stats), grads = gradient(net, carry.params, carry.stats, x, y, dropout_key)
        params, opt_state = RULE(carry.params, grads, carry.opt_state)
        return Carry(params, stats, opt_state, key), loss

    carry, losses = lax.scan(iteration, carry, plan)
    return carry, losses.mean()


@jax.jit
def accuracy(net, params, stats, normalizer, images, labels):
    """The fraction of rows classified right."""
    return jnp.mean(jaxfc.predict(net, params, stats, normalizer(images, net.dtype)) == labels)


def start(net: jaxfc.FCNet, learning_rate: float, steps_per_epoch: int, epochs: int, seed: int) -> Carry:
    """Initial parameters, and a learning rate that rises for an epoch and then falls to zero."""
    init_key, key = jax.random.split(jax.random.key(seed))
    params, stats = jaxfc.init(net, init_key)
    schedule = Schedule(warmup_steps=steps_per_epoch, total_steps=epochs * steps_per_epoch)
    return Carry(params, stats, RULE.init(params, schedule=schedule, learning_rate=learning_rate), key)


def train(net: jaxfc.FCNet, data: Dataset, args: argparse.Namespace) -> jaxfc.Model:
    """Train, printing a line for each epoch; return the best epoch's model, going by the validation rows."""

    def plan_of(epoch):
        return shuffled_plan(len(data.x_train), args.batch_size, seed=args.seed, epoch=epoch)

    carry = start(net, args.learning_rate, len(plan_of(0)), args.epochs, args.seed)
    # Images go to the device once, as bytes, and are normalized batch by batch.
    normalizer, rows, val_rows = jax.device_put((data.normalizer, data.split("train"), data.split("val")))
    best_accuracy, best = -1.0, None
    for epoch in range(1, args.epochs + 1):
        started = time.perf_counter()
        carry, loss = train_epoch(net, carry, normalizer, *rows, plan_of(epoch))
        if not math.isfinite(loss):
            raise SystemExit(f"the loss became {loss} in epoch {epoch}: lower --learning-rate {args.learning_rate}")
        val_accuracy = float(accuracy(net, carry.params, carry.stats, normalizer, *val_rows))
        if val_accuracy > best_accuracy:
            # A copy: the next epoch writes over the arrays themselves.
            best_accuracy, best = val_accuracy, jax.tree.map(jnp.copy, (carry.params, carry.stats))
        seconds = time.perf_counter() - started
        print(f"epoch {epoch:3d}  loss {loss:.4f}  val_acc {val_accuracy:.4f}  {seconds:.1f} s", flush=True)
    return jaxfc.Model.of(net, *best, data)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a single line."""

    def error(self, message):
        """Print the message and exit with code 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")


def main() -> None:
    parser = Parser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--data", default="cifar10", help="cifar10, mnist, fashion_mnist, digits, or a .npz or .csv file"
    )
    parser.add_argument("--hidden", type=int, nargs="*", default=[2048, 1024], help="widths of the hidden layers")
    parser.add_argument("--keep-ratio", type=float, default=0.5, help="ratio of activations kept by dropout")
    parser.add_argument("--reg", type=float, default=2e-4, help="L2 strength")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--epochs", type=int, default=10, help="number of epochs")
    parser.add_argument("--batch-size", type=int, default=512, help="rows in a batch")
    parser.add_argument("--seed", type=int, default=0, help="of initial weights, row order and dropout")
    parser.add_argument("--out", default="model.safetensors", help="file to write the best model to")
    args = parser.parse_args()
    try:
        if args.epochs < 1 or args.seed < 0:
            raise ValueError(f"--epochs {args.epochs} must be at least 1, and --seed {args.seed} at least 0")
        if not Path(args.out).parent.is_dir():
            raise ValueError(f"--out {args.out}: there is no such folder; make it first")
        if Path(args.out).exists():
            raise ValueError(f"--out {args.out}: exists; name another file")
        data = jaxfc.load(args.data)
        numbers = {"dropout_keep_ratio": args.keep_ratio, "reg": args.reg}
        net = jaxfc.FCNet(data.num_features, args.hidden, len(data.classes), normalization="batchnorm", **numbers)
        print(f"{data.name}: {len(data.x_train)} training rows, on {jax.devices()[0].device_kind}")
        print(jaxfc.summary(net), flush=True)
        model = train(net, data, args)
        model.save(args.out)
        print(f"test_acc: {model.accuracy(*data.split('test')):.4f}")
        print(f"model: {args.out}")
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
