"""Reading a compiled program's text: its loops, its collectives, and the compiler's own estimate of its cycles."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}  # s8, u32 … say it themselves
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
SHAPE = re.compile(r"\b(pred|bf16|f16|f32|f64|c64|c128|[su](?:2|4|8|16|32|64)|f8\w+)\[([0-9,]*)\]")
COMPUTATION = re.compile(r"^(ENTRY )?%?([^\s(]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?(\S+) = (.*)$")
OPCODE = re.compile(r"(?:^|[\s)}\]])([a-z][a-z0-9\-]*)\(")
CALLED = re.compile(r"(?:calls|to_apply|body|branch_computations|true_computation|false_computation)=\{?([^,}]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
BODY = re.compile(r"body=%?([^,\s]+)")
NESTING = ("while", "conditional", "call")
CHANNEL = re.compile(r"channel_id=(\d+)")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
NAMED = re.compile(r'op_name="([^"]*)"')
CALLBACK = re.compile(r'custom_call_target="[^"]*callback[^"]*"|\b(?:infeed|outfeed|send|recv)\(')


class Collective(NamedTuple):
    """An exchange between chips.

    Args:
        kind: `"all-reduce"`, `"all-gather"`, `"reduce-scatter"` …
        bytes: of the whole array exchanged, or of the arrays.
        chips: how many take part in each exchange.
        count: how often it is done.

    >>> Collective("all-reduce", 1000, 4, 2).sent  # each part goes around twice, but for the last step
    3000.0
    """

    kind: str
    bytes: int
    chips: int
    count: int = 1

    @property
    def sent(self) -> float:
        """Bytes that each chip sends, at least, whichever way the exchange is done."""
        share = (self.chips - 1) / self.chips
        return self.count * self.bytes * share * (2 if self.kind == "all-reduce" else 1)


class Instruction(NamedTuple):
    """A line of a compiled program.

    >>> line = "f32[8]{0} all-reduce(%x), replica_groups=[1,4]<=[4], to_apply=%sum"
    >>> Instruction("y", line).opcode, Instruction("y", line).size
    ('all-reduce', 32)
    """

    name: str
    text: str

    @property
    def opcode(self) -> str:
        """What it does."""
        found = OPCODE.search(self.text)
        return found[1] if found else ""

    @property
    def size(self) -> int:
        """Bytes of its result."""
        return _bytes(self.text[: OPCODE.search(self.text).start(1)])

    @property
    def cycles(self) -> int:
        """The compiler's estimate, of what is not made of other computations."""
        found = CYCLES.search(self.text)
        return int(found[1]) if found else 0

    @property
    def called(self) -> list[str]:
        """The computations that it is made of."""
        branches = BRANCHES.search(self.text)
        if branches:
            return [name.strip().removeprefix("%") for name in branches[1].split(",")]
        return [name.removeprefix("%") for name in CALLED.findall(self.text)]

    @property
    def trips(self) -> int:
        """How often a loop goes around, where the compiler knows; else 1."""
        found = TRIPS.search(self.text)
        return int(found[1]) if found else 1

    @property
    def origin(self) -> str:
        """The path of JAX functions that it comes from."""
        found = NAMED.search(self.text)
        return found[1] if found else ""


class Text:
    """A compiled program's text.

    Args:
        text: as `jax.stages.Compiled.as_text` returns it.

    >>> import jax
    >>> program = jax.jit(lambda x: x + 1).lower(1.0).compile()
    >>> Text(program.as_text()).collectives()
    []
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.computations: dict[str, list[Instruction]] = {}
        self.entry = ""
        chips = re.search(r"num_partitions=(\d+)", text)
        self.chips = int(chips[1]) if chips else 1
        lines: list[Instruction] = []
        for line in text.splitlines():
            head = COMPUTATION.match(line)
            if head:
                lines = self.computations[head[2]] = []
                self.entry = head[2] if head[1] else self.entry
            elif found := INSTRUCTION.match(line):
                lines.append(Instruction(found[1], found[2]))

    def within(self, scope: str) -> list[Instruction]:
        """The instructions of one round of the loop that JAX made in a `jax.named_scope`.

        Of a loop that goes around once, which the compiler has opened, those that come from there; all of the
        program's where nothing does.
        """
        for each, _ in self._all(self.entry, 1, fused=False):
            if each.opcode == "while" and each.origin.endswith(f"/{scope}/while"):
                return self.computations[BODY.search(each.text)[1]]
        return list(self._opened(self.entry, scope)) or self.computations[self.entry]

    def _opened(self, computation: str, scope: str) -> Iterator[Instruction]:
        for each in self.computations[computation]:
            if f"/{scope}/" in each.origin:
                yield each
            elif each.opcode in NESTING:
                for name in each.called:
                    yield from self._opened(name, scope)

    def cycles(self, instructions: Iterable[Instruction] | None = None) -> int:
        """The compiler's estimate of the cycles of some instructions, or of all; loops as often as they go around.

        Of branches the longest counts. 0 where the compiler estimates nothing, as those for CPUs and GPUs.
        """
        total = 0
        for each in self.computations[self.entry] if instructions is None else instructions:
            total += each.cycles
            if each.opcode in NESTING:
                inside = [self.cycles(self.computations[name]) for name in each.called]
                total += max(inside) if each.opcode == "conditional" else each.trips * sum(inside)
        return total

    def collectives(self, instructions: Iterable[Instruction] | None = None) -> list[Collective]:
        """The exchanges among some instructions, or among all, alike ones joined."""
        counts: dict[tuple[str, int, int], int] = {}
        channels: set[str] = set()  # what goes on beside other work stands in each of its fusions
        for each in self.computations[self.entry] if instructions is None else instructions:
            for inner, trips in [(each, 1), *self._inside(each, 1, fused=True)]:
                kind = inner.opcode.removesuffix("-start")
                if kind not in COLLECTIVES or (chips := _group(inner.text, self.chips)) == 1:
                    continue
                channel = CHANNEL.search(inner.text)
                if channel is None or channel[1] not in channels:
                    key = kind, _exchanged(inner, kind, chips), chips
                    counts[key] = counts.get(key, 0) + trips
                channels |= {channel[1]} if channel else set()
        return [Collective(*key, count) for key, count in counts.items()]

    def _all(self, computation: str, trips: int, *, fused: bool) -> Iterator[tuple[Instruction, int]]:
        """All instructions within a computation, and how often each is done."""
        for each in self.computations.get(computation, ()):
            yield each, trips
            yield from self._inside(each, trips, fused=fused)

    def _inside(self, each: Instruction, trips: int, *, fused: bool) -> Iterator[tuple[Instruction, int]]:
        if fused or each.opcode in NESTING:
            for name in each.called:
                yield from self._all(name, trips * each.trips, fused=fused)

    @property
    def has_float64(self) -> bool:
        """Whether any number is a float64."""
        return "f64[" in self.text

    @property
    def calls_host(self) -> bool:
        """Whether the program waits for the host anywhere."""
        return CALLBACK.search(self.text) is not None


def _bytes(text: str) -> int:
    return sum(_array_bytes(kind, dims) for kind, dims in SHAPE.findall(text))


def _array_bytes(kind: str, dims: str) -> int:
    bits = BITS.get(kind) or (8 if kind.startswith("f8") else int(kind[1:]))
    return math.prod(map(int, filter(None, dims.split(",")))) * bits // 8


def _exchanged(each: Instruction, kind: str, chips: int) -> int:
    """Bytes of the whole array: of a gather its result, of a scatter its operand, its result times the group."""
    size = each.size
    if each.opcode == "all-gather-start":  # its result holds the operand as well
        size = size * chips // (chips + 1)
    if each.opcode in ("all-reduce-start", "collective-permute-start") and each.text.startswith("("):
        size //= 2
    return size * chips if kind == "reduce-scatter" else size


def _group(text: str, everyone: int) -> int:
    """How many chips a group has.

    `[4,2]<=[8]` are four groups of two, `{{0,1},{2,3}}` two of two, `mesh['a'=4,'b'=2] {'b'}` four of two, those along
    `b`, of which there may be a part, `'b':(1)2`; `{}` is one of all.
    """
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", text):
        return int(found[1])
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return len(found[1].split(","))
    if found := re.search(r"replica_groups=mesh\[(.*?)\][^{]*\{(.*?)\}", text):
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", found[1])}
        along = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
        return math.prod(int(part) if part else sizes[name] for name, part in along)
    if "source_target_pairs=" in text:
        return 2
    return everyone
