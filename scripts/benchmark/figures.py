"""What is made of the rounds: a row's figures, and where this checkout is slower than a revision."""

from statistics import median
from typing import Any

from peers import PEERS
from peers.work import Work

Row = dict[str, Any]


def summary(row: Row, rows: list[Row], products: dict[str, Row], work: Work) -> Row:
    """Reduce a peer's rounds to the table's figures; times in seconds, of a step or of a whole run.

    Args:
        row: the peer's.
        rows: all peers'; those that are divided by are among them.
        products: rates of matrix products, by type.
        work: what they did.
    """
    if row["status"] != "ok":
        return row
    unit = "seconds" if work.whole_run else "per_step"
    times = [done[unit] for done in row["rounds"]]
    reference = _found(rows, "jaxfc-search" if work.candidates > 1 else "jaxfc")
    first, last = row["first"], row["rounds"][-1]
    steady = median(done["seconds"] for done in row["rounds"])
    return row | {
        "first_seconds": first["seconds"],
        "compile_seconds": max(0.0, first["seconds"] - steady),
        "times": times,
        "median": median(times),
        "min": min(times),
        "max": max(times),
        "ratio": _ratio(row, reference, unit),
        "ratio_first": median(times) / reference["first"]["seconds"] if reference and work.candidates > 1 else None,
        "slowdown": _ratio(_found(rows, row["peer"]), row, unit) if "revision" in row else None,
        "peak_memory": last["peak_memory"],
        "product_fraction": _fractions(times, products.get(PEERS[row["peer"]].dtype)),
        "first_loss": first["first_loss"],
        "final_loss": last["final_loss"],
        "val_acc": last["val_acc"],
        "note": last["note"],
    }


def slowdowns(works: dict[str, dict[str, Any]], limit: float) -> list[str]:
    """A line for each work and peer in which this checkout takes more than `limit` times a revision's time.

    What could not be compared gets a line, too: it is no proof that nothing is slower.
    """
    lines = []
    for name, result in works.items():
        for row in result.get("rows", ()):
            if "revision" not in row:
                continue
            slowdown = row.get("slowdown")
            if slowdown is None:
                lines.append(f"work ({name}): this checkout and {row['title']} could not be compared")
            elif slowdown > limit:
                lines.append(
                    f"work ({name}): this checkout takes {slowdown:.2f} times as long as {row['title']}, "
                    f"more than {limit:g} times"
                )
    return lines


def _found(rows: list[Row], peer: str) -> Row | None:
    """This checkout's row of a peer, if it came to an end."""
    return next((row for row in rows if row["peer"] == peer and "revision" not in row and row["status"] == "ok"), None)


def _ratio(row: Row | None, reference: Row | None, unit: str) -> float | None:
    """The median over rounds of one row's time over another's in the same round."""
    if row is None or reference is None:
        return None
    return median(a[unit] / b[unit] for a, b in zip(row["rounds"], reference["rounds"], strict=True))


def _fractions(times: list[float], product: Row | None) -> dict[str, float] | None:
    """How much of the time the products alone would take, at both rates."""
    if product is None or product["status"] != "ok":
        return None
    rounds = list(zip(times, product["rounds"], strict=True))
    return {kind: median(done["step_flops"] / t / done[kind] for t, done in rounds) for kind in ("square", "step")}
