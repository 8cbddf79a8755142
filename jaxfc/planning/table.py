"""A plan as a table for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxfc.planning.compiled import Text
from jaxfc.planning.estimate import ASSUMED

if TYPE_CHECKING:
    from jaxfc.planning.ahead import Plan


class Report(NamedTuple):
    """What a compiled program says of itself.

    Args:
        name: what it does.
        text: its text, read; None where it did not fit.
        arguments: bytes of its arguments on a chip, as they lie there.
        results: bytes of its results that do not take the arguments' memory.
        temporaries: bytes of everything between.
        code: bytes of instructions.
        refusal: what the compiler says, where its memory is too small.

    >>> Report("train", None, 0, 0, 0, 0, "Used 17G of 16G").fits
    False
    """

    name: str
    text: Text | None
    arguments: int
    results: int
    temporaries: int
    code: int
    refusal: str

    @property
    def fits(self) -> bool:
        """Whether the compiler found room for it."""
        return not self.refusal

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return self.arguments + self.results + self.temporaries + self.code

    @classmethod
    def of(cls, name: str, compiled: Any, refusal: str) -> "Report":
        """That of a program as `jax.jit(...).lower(...).compile()` returns it; or of one that was refused."""
        if compiled is None:
            return cls(name, None, 0, 0, 0, 0, " ".join(refusal.split()))
        sizes = compiled.memory_analysis()
        results = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
        rest = sizes.temp_size_in_bytes, sizes.generated_code_size_in_bytes
        return cls(name, Text(compiled.as_text()), sizes.argument_size_in_bytes, results, *rest, "")


class Memory(NamedTuple):
    """Bytes on one chip while the program trains.

    Args:
        data: what is read.
        parameters: those trained, those kept as the best, and statistics.
        slots: what the update rule keeps.
        temporaries: activations, gradients and all else between; 0 where the compiler refused the program.
        other: plans, results, instructions, and what a layout in tiles adds to arrays.
        available: what there is.

    >>> Memory(5, 3, 2, 1, 1, 16).fits
    True
    """

    data: int
    parameters: int
    slots: int
    temporaries: int
    other: int
    available: float

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self[:5])

    @property
    def fits(self) -> bool:
        """Whether there is so much."""
        return self.total <= self.available

    @classmethod
    def of(cls, data: int, parameters: int, slots: int, report: Report, available: float) -> "Memory":
        """That of a program whose arguments' parts are known."""
        known = data + parameters + slots
        other = max(report.total - report.temporaries - known, 0)
        return cls(data, parameters, slots, report.temporaries, other, available)


def table(plan: "Plan") -> str:
    """A plan as text.

    >>> table.__name__
    'table'
    """
    return "\n".join([*_head(plan), "", *_memory(plan), "", *_step(plan), "", *_programs(plan)])


def _head(plan: "Plan") -> Iterator[str]:
    where, memory = plan.topology, plan.memory
    count = len(where.devices)
    devices = f"{count} {'device' if count == 1 else 'devices'}"
    yield f"{plan.what}, on {where.name}: {devices} ({plan.chip.name}), mesh {plan.mesh}"
    if plan.fits:
        yield f"it fits: {_size(memory.total)} of {_size(memory.available)} on each"
        return
    refused = next((report for report in plan.programs if not report.fits), None)
    reason = f"program {refused.name!r}: {refused.refusal[:160]}" if refused else f"{_size(memory.total)} are needed"
    yield f"it does NOT fit {_size(memory.available)} ({reason})"
    yield f"to change: {'; '.join(remedies(plan))}"


def remedies(plan: "Plan") -> list[str]:
    """What to change where a run does not fit, what takes most first.

    >>> remedies.__name__
    'remedies'
    """
    memory = plan.memory
    parts = {
        memory.data: "fewer rows at a time (num_train)",
        memory.parameters + memory.slots: (
            "fewer candidates to a program (chunk), or more chips" if plan.members else
            "a rule with fewer slots (sgd, sgd_momentum), more chips, or a mesh with an axis model"
        ),
        memory.temporaries or memory.available: (
            "smaller batches, compute_dtype='bfloat16'" + ("" if plan.members else ", or accumulate")
        ),
    }  # fmt: skip
    return [parts[size] for size in sorted(parts, reverse=True) if size > memory.available / 20]


def _memory(plan: "Plan") -> Iterator[str]:
    memory = plan.memory
    temporaries = _size(memory.temporaries) if plan.programs[0].fits else "unknown: it was not compiled"
    yield from _columns(
        "memory of a device while training",
        {
            "data": _size(memory.data),
            "parameters, and the best of them": _size(memory.parameters),
            "slots of the update rule": _size(memory.slots),
            "activations, gradients, temporaries": temporaries,
            "plans, code, layout": _size(memory.other),
        },
    )


def _step(plan: "Plan") -> Iterator[str]:
    step, chip, times = plan.step, plan.chip, plan.times()
    lines = {
        "products": f"{step.flops / 1e9:,.3g} GFLOP: {_time(times['products'])} at {chip.flops / 1e12:.3g} TFLOP/s"
    }
    lines["memory traffic"] = (
        f"{_size(step.traffic)}: {_time(times['memory'])} at {chip.bandwidth / 1e9:,.4g} GB/s, if nothing stays inside"
    )
    for each in step.collectives or ():
        if each.bytes >= 1024 or len(step.collectives) < 6:
            lines[f"{each.count} x {each.kind}"] = f"{_size(each.bytes)} among {each.chips}"
    if step.collectives:
        rate = chip.outgoing(plan.topology.shape) / 1e9
        lines["sent to other devices"] = f"{_size(step.sent)}: {_time(times['links'])} at {rate:,.4g} GB/s"
    elif len(plan.topology.devices) > 1:
        lines["sent to other devices"] = "nothing"
    if step.cycles:
        share = step.product_share(chip)
        lines["compiler's estimate"] = (
            f"{step.cycles:,} cycles, of which products need {100 * share:.2g}%: "
            f"{_time(times['compiler'])} at {chip.clock / 1e9:.3g} GHz"
        )
    lines["estimate"] = _time(times["estimate"])
    lines["which assumes"] = ASSUMED
    lines["figures"] = chip.source
    yield from _columns("a step on a device", lines)


def _programs(plan: "Plan") -> Iterator[str]:
    lines = {}
    for report in plan.programs:
        if not report.fits:
            lines[report.name] = "does not fit"
            continue
        cycles = report.text.cycles()
        lines[report.name] = f"{_size(report.total)}, of which temporaries {_size(report.temporaries)}" + (
            f"; {cycles:,} cycles, each loop of unknown length once" if cycles else ""
        )
    yield from _columns("programs", lines)


def _columns(title: str, lines: dict[str, str]) -> Iterator[str]:
    yield title
    width = max(map(len, lines)) + 2
    for name, value in lines.items():
        yield f"  {name:<{width}}{value}"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
