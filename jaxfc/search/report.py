"""A search as a table, and as one self-contained page: the best trials, pictures, and the table of all."""

import base64
import csv
import html
import io
import math
from collections.abc import Mapping
from itertools import starmap
from string import Template
from typing import Any

from jaxfc.search.pictures import names_of
from jaxfc.search.spaces import spell_value
from jaxfc.search.trials import Trial, ranked

BEST = 10  # trials at the top of the page


def table(trials: list[Trial], digits: int = 12) -> tuple[list[str], list[list[Any]]]:
    """The head and the rows of the table of trials, by number; None where there is nothing to say.

    Args:
        trials: the trials.
        digits: significant digits of settings.
    """
    names = names_of(trials)
    rungs = sorted({rung for trial in trials for rung in trial.rungs})
    metric = f"val_{trials[0].metric}" if trials else "val"
    brackets = ["bracket"] if any(trial.bracket for trial in trials) else []
    head = ["trial", *names, *brackets, "status", "failed_at", "epochs", "best_epoch", metric, "val_loss"]
    head += [f"{metric}_at_{rung}" for rung in rungs] if len(rungs) > 1 else []
    rows = []
    for trial in trials:
        row: list[Any] = [trial.number, *(spell_value(trial.settings.get(name), digits) for name in names)]
        row += [trial.bracket] if brackets else []
        row += [trial.status, trial.failed_at, trial.epochs, trial.best_epoch or None, _rounded(trial.score)]
        row += [_rounded(trial.rank[1])]
        row += [_rounded(trial.at_rung(rung)) for rung in rungs] if len(rungs) > 1 else []
        rows.append(row)
    return head, rows


def _rounded(value: float) -> str | None:
    return f"{value:.4f}" if math.isfinite(value) else None


def trials_csv(trials: list[Trial]) -> str:
    """The table of trials as CSV."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    head, rows = table(trials)
    writer.writerow(head)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return lines.getvalue()


def page(title: str, facts: Mapping[str, str], trials: list[Trial], pictures: Mapping[str, bytes]) -> str:
    """One HTML page that needs nothing else, for a screen of any width.

    It opens with the facts, the best trials and the pictures; the table of all trials, sortable by a click, is folded
    away after them.

    Args:
        title: its heading.
        facts: what to say of the search, by name.
        trials: the trials.
        pictures: PNG files by caption.
    """
    head, rows = table(trials, digits=5)
    best = [trial.number for trial in ranked(trials)[:BEST]]
    return PAGE.substitute(
        title=html.escape(title),
        facts="".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items()),
        best=_best(head, {row[0]: row for row in rows}, best),
        pictures=f"<h2>Pictures</h2>{''.join(starmap(_figure, pictures.items()))}" if pictures else "",
        count=len(trials),
        head="".join(f'<th scope="col" aria-sort="none"><button>{html.escape(name)}</button></th>' for name in head),
        rows="".join(_row(row, best=row[0] in best[:1]) for row in rows),
    )


def _best(head: list[str], rows: Mapping[int, list[Any]], numbers: list[int]) -> str:
    """A short table of the best trials: their scores first, then the settings that set them apart."""
    if not numbers:
        return ""
    start = head.index("status")
    epoch, loss = (head.index(name, start) for name in ("best_epoch", "val_loss"))
    columns = [0, loss - 1, loss, epoch, *range(1, start)]
    cells = "".join(f'<th scope="col">{html.escape(head[column])}</th>' for column in columns)
    lines = "".join(_row([rows[n][column] for column in columns], best=n == numbers[0]) for n in numbers)
    return (
        f'<h2>The best trials</h2><div class="table" tabindex="0"><table id="best"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _figure(caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def _row(row: list[Any], *, best: bool) -> str:
    cells = "".join(f"<td>{'' if value is None else html.escape(str(value))}</td>" for value in row)
    return f'<tr class="best">{cells}</tr>' if best else f"<tr>{cells}</tr>"


PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --text: #222; --soft: #666; --line: #e4e4e4; --head: #f6f6f6; --best: #fdeee6;
  --hover: #f2f6fb; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --soft: #999; --line: #3a3a3a; --head: #262626; --best: #4a2c1a; --hover: #232b36;
    --page: #171717; }
}
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2rem auto; padding: 0 1rem;
  color: var(--text); background: var(--page); overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2, summary { font-size: 1.15rem; font-weight: 600; margin-top: 2rem; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
figure { margin: 1.2rem 0; } img { display: block; max-width: 100%; height: auto; background: #fff; }
figcaption { color: var(--soft); font-size: .9rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; white-space: nowrap; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { background: var(--head); }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer; color: inherit; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
tr.best td { background: var(--best); font-weight: 600; } tbody tr:hover td { background: var(--hover); }
@media (max-width: 600px) {
  body { margin-top: 1rem; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  th, td { padding: .25rem .5rem; }
}
</style>
</head>
<body>
<h1>$title</h1>
<dl>$facts</dl>
$best
$pictures
<details id="all">
<summary>All $count trials</summary>
<p>Click a heading to sort by it; the best candidate is shaded.</p>
<div class="table" tabindex="0"><table id="trials"><thead><tr>$head</tr></thead><tbody>$rows</tbody></table></div>
</details>
<script>
const table = document.getElementById("trials"), body = table.tBodies[0];
table.tHead.addEventListener("click", event => {
  const th = event.target.closest("th");
  if (!th) return;
  const ascending = th.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  th.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const text = row => row.cells[th.cellIndex].textContent;
  const compare = (a, b) => {
    const [x, y] = [text(a), text(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // empty cells last, either way
    const difference = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return ascending ? difference : -difference;
  };
  body.append(...[...body.rows].sort(compare));
});
</script>
</body>
</html>
""")
