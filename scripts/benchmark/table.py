"""What a run prints: a head, a table for each work, and what the columns mean."""

from pathlib import Path
from statistics import median
from typing import Any

from peers import assignment
from peers.work import WORKS

from benchmark.figures import Row

COLUMNS = (
    "peer",
    "first round",
    "compile",
    "median",
    "min .. max",
    "x jaxfc",
    "peak memory",
    "of product",
    "loss",
    "val acc",
)


def header(report: dict[str, Any]) -> str:
    """Say where, when and with what."""
    machine = report["machine"]
    device = machine["cpu"] if machine["backend"] == "cpu" else f"{machine['device']}; {machine['cpu']}"
    packages = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    rounds = f"{report['rounds']} rounds" + (" (quick: figures mean nothing)" if report["quick"] else "")
    return f"{report['date']}   {device}, {machine['cores']} cores   {rounds}\nPython {machine['python']}, {packages}"


def block(name: str, result: dict[str, Any]) -> str:
    """One work's table."""
    unit = "ms per step" if result["per_step"] else "ms per run"
    unit = "ms per candidate" if WORKS[name].candidates > 1 else unit
    lines = [f"({name}) {result['title']}: {result['data']}; {unit}"]
    table = [COLUMNS, *(cells(row) for row in result["rows"])]
    if not result["products"]:
        place = COLUMNS.index("of product")
        table = [(*line[:place], *line[place + 1 :]) for line in table]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        padded = [line[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        lines.append("  ".join(padded).rstrip())
    lines += [f"  {text}" for row in result["rows"] if (text := remark(row))]
    lines += [product_line(dtype, product) for dtype, product in result["products"].items()]
    if result["products"]:
        lines.append(
            "  'of product': a step's part of the former rate (the latter), in the type of the peer's products"
        )
    return "\n".join(lines)


def cells(row: Row) -> tuple[str, ...]:
    """A row's cells, in the order of `COLUMNS`."""
    if row["status"] != "ok":
        return (row["title"], *["-"] * 2, row["status"], *["-"] * 6)
    fraction = row["product_fraction"]
    return (
        row["title"],
        f"{row['first_seconds']:.2f} s",
        f"{row['compile_seconds']:.2f} s",
        milliseconds(row["median"]),
        f"{milliseconds(row['min'])} .. {milliseconds(row['max'])}",
        "-" if row["ratio"] is None else f"{row['ratio']:.2f}",
        f"{row['peak_memory'] / 2**20:.0f} MiB",
        "-" if fraction is None else f"{fraction['step']:.0%} ({fraction['square']:.0%})",
        f"{row['first_loss']:.3f} → {row['final_loss']:.3f}",
        f"{row['val_acc']:.3f}",
    )


def milliseconds(seconds: float) -> str:
    """Three significant digits or more."""
    value = seconds * 1e3
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def remark(row: Row) -> str:
    """A line under the table about a row, or nothing."""
    title = row["title"]
    if row["status"] != "ok":
        return f"{title}: {row['status']} ({row['reason']})"
    remarks = [row["note"]] if row["note"] else []
    if row["ratio_first"] is not None:
        remarks.append(f"{row['ratio_first']:.2f} x the search's first round, which includes its compilation")
    if row["slowdown"] is not None:
        remarks.append(f"this checkout takes {row['slowdown']:.2f} times as long, the median over rounds")
    return f"{title}: {'; '.join(remarks)}" if remarks else ""


def product_line(dtype: str, product: Row) -> str:
    """Say what rates the fractions are of."""
    if product["status"] != "ok":
        return f"  {product['title']}: {product['status']} ({product['reason']})"
    square, step = (median(done[kind] for done in product["rounds"]) / 1e9 for kind in ("square", "step"))
    flops = product["first"]["step_flops"] / 1e9
    return (
        f"  matrix products alone, {dtype}: a step's own {step:.1f} GFLOP/s ({flops:.2f} GFLOP per step), "
        f"a square one of 2048 {square:.1f} GFLOP/s"
    )


def assignment_block(result: dict[str, Any]) -> str:
    """The table of the assignment's trainings: seconds, and NumPy's over jaxfc's."""
    lines = [
        f"{result['title']}: {result['data']}; seconds, NumPy's time over jaxfc's in the same round, medians",
        f"{'':46}{'NumPy':>8}{'jaxfc, first':>20}{'compiled before':>20}",
    ]
    for task, times in result["times"].items():
        cells = [f"{assignment.TASKS[task]:46}{median(t[-1] for t in times['numpy']):8.2f}"]
        for which in range(len(times["jaxfc"][0])):
            ratio = median(n[-1] / j[which] for n, j in zip(times["numpy"], times["jaxfc"], strict=True))
            cells.append(f"{median(t[which] for t in times['jaxfc']):11.2f} ({ratio:5.2f}x)")
        lines.append("".join(cells))
    return "\n".join(lines)


def footer(report: dict[str, Any], path: Path) -> str:
    """Explain the columns, and give the time of an import."""
    seconds = report["import"]
    return (
        "first round: from new parameters on, with compilation; compile: what it takes beyond a later round.\n"
        "x jaxfc: the peer's time over float32 jaxfc's (in a search: over the search's) in the same round, median.\n"
        "Losses: the first step's, and the mean of the last round's last tenth; with the L2 term in jaxfc and NumPy,\n"
        "without in the others. val acc: on the validation rows, after the last round; a search's is that of its best\n"
        "candidate, which these rows chose. Memory: the host's.\n"
        f"import jaxfc: {seconds['jaxfc']:.2f} s more than import jax ({seconds['jax']:.2f} s).   Written: {path}"
    )
