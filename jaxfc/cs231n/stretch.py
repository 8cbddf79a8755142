"""A stretch of the Solver's iterations as one compiled program.

What the assignment's loop does between two prints or two checks of accuracy depends on nothing but
arrays, and on draws from NumPy's global random stream. So the draws are made first, in the assignment's
order; then one program runs the whole stretch. From stretch to stretch, parameters stay on the device
until someone may look at them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxfc.cs231n import optim
from jaxfc.cs231n.bridge import compiled
from jaxfc.cs231n.classifiers.fc_net import SMALL, FullyConnectedNet, Programs, flat
from jaxfc.cs231n.rows import Rows

Array = np.ndarray
MASK_BYTES = 2**28  # of dropout masks drawn ahead


def is_compiled(model: Any) -> bool:
    """Whether a model's loss is the core network's, and not a subclass's own or another library's."""
    return type(model).loss is FullyConnectedNet.loss  # and TwoLayerNet's: they inherit it


def longest_stretch(model: Any, batch_size: int) -> int:
    """How many iterations' masks may be drawn ahead."""
    if not model.use_dropout:
        return 2**31
    units = sum(w.shape[1] for w in model.weights())
    return max(MASK_BYTES // (units * batch_size), 1)


class Stretches:
    """Runs stretches of a training: draws, computes, and writes parameters and configurations back.

    Args:
        model: one of `fc_net`'s.
        rule: the name of an update rule.
        configs: its configuration for each parameter, changed in place.
        rows: the rows on the device, training rows first.
        y: the training rows' labels.
        batch_size: rows drawn for an iteration.
        longest: the most iterations of a stretch. Arrays of draws are padded to it, so that one program
            serves stretches of all lengths.
    """

    def __init__(
        self, model: Any, rule: str, configs: dict[str, dict], rows: Rows, y: Array, batch_size: int, longest: int
    ) -> None:
        self.model, self.rule, self.adapter, self.configs = model, rule, optim.ADAPTERS[rule], configs
        self.rows, self.batch_size, self.longest = rows, batch_size, longest
        with jax.enable_x64(True):
            self.data = rows.x, jax.device_put(np.asarray(y))
        # One program serves all update rules where to compile costs more than to carry slots that a rule leaves unused.
        self.shared = sum(w.size for w in model.params.values()) <= SMALL
        self.state: list | None = None  # parameters, statistics and slots, where they are not the model's
        self.groups: dict[tuple, tuple[str, ...]] = {}
        self.done = 0  # iterations since the state was read

    def run(self, iterations: int) -> list[float]:
        """Run so many iterations, and return their losses."""
        model = self.model
        model.enter("train")
        rows, masks = self._draw(iterations)
        if self.state is None:
            self._read()
        program = _program(model.programs(), tuple(self.groups.values()), None if self.shared else self.rule)
        *self.state, losses = program(
            np.int32(list(optim.ADAPTERS).index(self.rule)),
            np.int32(iterations),
            model.numbers(),
            self.state,
            [_padded(key[:-1]) for key in self.groups],
            [np.int32(key[-1] + self.done) for key in self.groups],
            self.data,
            rows,
            masks,
        )
        self.done += iterations
        return [float(loss) for loss in np.asarray(losses)[:iterations]]

    def _read(self) -> None:
        """Take the state of the training from the model and the configurations."""
        for name, config in self.configs.items():
            self.adapter.fill(self.model.params[name], config)
        self.groups, self.done = self._group(), 0
        slots = [self._slots(names) for names in self.groups.values()]
        self.state = [self.model.layers(), self.model.running(self.model.dtype), slots]

    def write_back(self) -> None:
        """Bring the model and the configurations up to date; the next run reads them again."""
        if self.state is None:
            return
        layers, stats, slots = self.state
        self.model.params.update({name: np.array(w) for name, w in flat(layers).items()})
        self.model.keep(stats)
        for names, arrays in zip(self.groups.values(), slots, strict=True):
            self._write_configs(names, arrays)
        self.state = None

    def _draw(self, iterations: int) -> tuple[Array, list[Array] | None]:
        """Draw batches and dropout masks, iteration by iteration."""
        num_rows = len(self.data[1])
        rows = np.zeros((self.longest, self.batch_size), np.int32)
        masks: list[Array] | None = None
        for i in range(iterations):
            rows[i] = np.random.choice(num_rows, self.batch_size)
            drawn = self.model.draw_masks(self.batch_size)
            if drawn is None:
                continue
            masks = masks or [np.zeros((self.longest, *mask.shape), bool) for mask in drawn]
            for ahead, mask in zip(masks, drawn, strict=True):
                ahead[i] = mask
        return rows, masks

    def _group(self) -> dict[tuple, tuple[str, ...]]:
        """The names of the parameters that share all numbers of their configuration, by those numbers."""
        groups: dict[tuple, tuple[str, ...]] = {}
        for name, config in self.configs.items():
            numbers = [float(config[number]) for number, _ in self.adapter.numbers]
            key = (*numbers, int(config.get(self.adapter.counter, 0)))
            groups[key] = (*groups.get(key, ()), name)
        return groups

    def _slots(self, names: tuple[str, ...]) -> tuple[dict[str, Array], ...]:
        """A group's slots, a tree for each; in a shared program two, as many as any rule has."""
        slots = [{name: np.asarray(self.configs[name][slot]) for name in names} for slot in self.adapter.slots]
        while self.shared and len(slots) < 2:
            slots.append({name: np.zeros_like(self.model.params[name]) for name in names})
        return tuple(slots)

    def _write_configs(self, names: tuple[str, ...], slots: tuple[dict[str, Any], ...]) -> None:
        for name in names:
            config = self.configs[name]
            for slot, tree in zip(self.adapter.slots, slots, strict=False):
                config[slot] = np.array(tree[name])
            if self.adapter.counter:
                config[self.adapter.counter] += self.done


def _padded(numbers: tuple[float, ...]) -> Array:
    """A rule's numbers as an array of four, as many as any rule has."""
    return np.array([*numbers, *[0.0] * (4 - len(numbers))])


@cache
def _program(programs: Programs, groups: tuple[tuple[str, ...], ...], rule: str | None) -> Callable:
    """The program that runs a stretch; with `rule` None, one for all rules, chosen by their index."""

    def update(index: Any, *args: Any) -> tuple:
        if rule is not None:
            return optim.ADAPTERS[rule].update(*args)
        # All of them, entry by entry in one loop: a conditional would copy parameters and slots.
        results = [adapter.update(*args) for adapter in optim.ADAPTERS.values()]
        return jax.tree.map(lambda *arrays: lax.select_n(index, *arrays), *results)

    def stretch(
        index: Any,
        iterations: Any,
        net: Any,
        start: list,
        numbers: Any,
        counts: Any,
        data: tuple,
        rows: Any,
        masks: Any,
    ) -> tuple:
        x, y = data

        def iteration(i: Any, carry: tuple) -> tuple:
            layers, stats, slots, losses = carry
            now = None if masks is None else [mask[i] for mask in masks]
            loss, grads, stats = programs.value_and_grad(net, layers, stats, x[rows[i]], y[rows[i]], now)
            params, grads, new_slots = flat(layers), flat(grads), []
            for names, group_numbers, group_slots, count in zip(groups, numbers, slots, counts, strict=True):
                mine, theirs = ({name: tree[name] for name in names} for tree in (params, grads))
                mine, arrays = update(index, mine, theirs, group_numbers, group_slots, count + i)
                params |= mine
                new_slots.append(arrays)
            return _like(layers, params), stats, new_slots, losses.at[i].set(loss.astype(losses.dtype))

        losses = jnp.zeros(len(rows), jnp.promote_types(x.dtype, jnp.float32))
        return lax.fori_loop(0, iterations, iteration, (*start, losses))

    return compiled(stretch)


def _like(layers: list[dict[str, Any]], params: dict[str, Any]) -> list[dict[str, Any]]:
    """Parameters by the assignment's names, arranged as the core network has them."""
    names = iter(flat(layers))
    return [{key: params[next(names)] for key in layer} for layer in layers]
