"""Print what a TPU's compiler estimates for each fusion of a training step, on a machine without a TPU.

    pip install libtpu
    python scripts/tpu_cycles.py
    python scripts/tpu_cycles.py --on v6e:1x1 --hidden 100 100 --batch-size 100 --of epoch

Of the epoch's program, the table is that of the loop over steps. The estimates are of fusions alone: copies between
the memory on the chip and the memory beside it run at the same time and are not among them, so their bytes are
counted apart.
"""

import argparse
import os
import re
from typing import Any, NamedTuple

os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # look up no cloud machine
os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct as Shape
from jax.experimental import topologies

import jaxfc
from jaxfc.data import Normalizer
from jaxfc.optim import adam
from jaxfc.tasks import Classification
from jaxfc.training.program import DeviceData, Recipe, begin, train_program
from jaxfc.training.step import init_state, train_step

FEATURES, CLASSES, ROWS, VALIDATION = 3072, 10, 49_000, 1_000  # of CIFAR-10
COMPUTATION = re.compile(r"^(?:ENTRY )?%?(\S+) \(.*\{$")
FUSION = re.compile(r'^\s*(?:ROOT )?%?(\S+) = (.*?) [\w-]+\(.*"estimated_cycles":"(\d+)"')
COPY = re.compile(r"= (.*) (?:copy|slice)-start\(")
ARRAY = re.compile(r"(\w+)\[([\d,]+)\]")
SIZES = {"f64": 8, "f32": 4, "u32": 4, "s32": 4, "bf16": 2, "u16": 2, "u8": 1, "s8": 1, "pred": 1}


class Fusion(NamedTuple):
    """A fusion of a compiled program."""

    cycles: int
    name: str
    result: str
    op: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--on", default="v5e:1x1", help="the topology (default: %(default)s)")
    parser.add_argument("--of", choices=("step", "epoch"), default="step", help="the program (default: %(default)s)")
    parser.add_argument("--hidden", type=int, nargs="*", default=(2048, 1024), help="widths (default: 2048 1024)")
    parser.add_argument("--batch-size", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument("--dtype", default="bfloat16", help="the type of products (default: %(default)s)")
    parser.add_argument("--least", type=int, default=0, help="leave out fusions of fewer cycles")
    args = parser.parse_args()
    text = compiled(args).as_text()
    fusions, copied = busiest(text)
    print(f"{args.on}, {args.of}, {args.dtype}: {sum(f.cycles for f in fusions):,} cycles in {len(fusions)} fusions")
    print(f"copies beside them: {copied / 1e6:,.1f} MB")
    for each in sorted(fusions, reverse=True):
        if each.cycles >= args.least:
            print(f"{each.cycles:>9,}  {each.name:<42} {each.result[:70]:<70} {each.op[-60:]}")


def compiled(args: argparse.Namespace) -> Any:
    """The program, compiled for the topology."""
    device = topologies.get_topology_desc(platform="tpu", topology_name=args.on).devices[0]
    sharding = jax.sharding.SingleDeviceSharding(device)

    def placed(tree: Any) -> Any:
        return jax.tree.map(lambda a: Shape(np.shape(a), jnp.result_type(a), sharding=sharding), tree)

    numbers = {"dropout_keep_ratio": np.float32(0.5), "norm_eps": np.float32(1e-5), "norm_momentum": np.float32(0.9)}
    net = jaxfc.FCNet(
        FEATURES, tuple(args.hidden), CLASSES, normalization="batchnorm", compute_dtype=args.dtype, **numbers
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda key: init_state(net, adam, key, learning_rate=1e-3), key)
    normalizer = Normalizer(Shape((FEATURES,), jnp.float32), Shape((), jnp.float32))

    def rows(n: int) -> tuple[Shape, Shape]:
        return Shape((n, FEATURES), jnp.uint8), Shape((n,), jnp.int32)

    if args.of == "step":
        batch, normalizer = placed((rows(args.batch_size), normalizer))
        traced = train_step.trace(placed(net), adam, placed(state), *batch, normalizer)
    else:
        data = DeviceData(normalizer, *rows(ROWS), None, *rows(VALIDATION), None, Shape((1000,), jnp.int32), key)
        plans = Shape((1, ROWS // args.batch_size, args.batch_size), jnp.int32)
        progress, numbers = jax.eval_shape(begin, state), [Shape((), jnp.int32)] * 3
        traced = train_program.trace(Recipe(adam), *placed((net, Classification(), progress, data, plans, *numbers)))
    return traced.lower(lowering_platforms=("tpu",)).compile()


def busiest(text: str) -> tuple[list[Fusion], int]:
    """The fusions of the computation that updates the parameters, and the bytes of the copies in it."""
    bodies: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if start := COMPUTATION.match(line):
            lines = bodies.setdefault(start.group(1), [])
        lines.append(line)

    def fusions(lines: list[str]) -> list[Fusion]:
        found = ((FUSION.match(line), re.search(r'op_name="([^"]*)"', line)) for line in lines)
        return [Fusion(int(m[3]), m[1], m[2], op[1] if op else "") for m, op in found if m]

    # Of all computations with estimates, only the steps' has products of the backward pass.
    step = next(
        lines
        for lines in bodies.values()
        if any("transpose(" in each.op and "dot_general" in each.op for each in fusions(lines))
    )
    return fusions(step), sum(_bytes(match[1]) for line in step if (match := COPY.search(line)))


def _bytes(arrays: str) -> int:
    """Of a copy's source and target, the smaller: of a slice, the source is the whole."""
    return min(
        (SIZES.get(kind, 4) * np.prod([int(n) for n in sizes.split(",")]) for kind, sizes in ARRAY.findall(arrays)),
        default=0,
    )


if __name__ == "__main__":
    main()
