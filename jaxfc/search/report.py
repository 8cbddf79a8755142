"""A search as a table, and as one self-contained page with table and pictures."""

import base64
import csv
import html
import io
import math
from collections.abc import Mapping
from string import Template
from typing import Any

from jaxfc.search.pictures import names_of
from jaxfc.search.spaces import spell_value
from jaxfc.search.trials import Trial, ranked


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
    """One HTML page that needs nothing else: facts, pictures (PNG, by caption), and the table, sortable by a click.

    Args:
        title: its heading.
        facts: what to say of the search, by name.
        trials: the trials.
        pictures: PNG files by caption.
    """
    head, rows = table(trials, digits=5)
    best = ranked(trials)[:1]
    return PAGE.substitute(
        title=html.escape(title),
        facts="".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items()),
        pictures="".join(_figure(caption, png) for caption, png in pictures.items()),
        head="".join(f'<th scope="col" aria-sort="none"><button>{html.escape(name)}</button></th>' for name in head),
        rows="".join(_row(row, best=bool(best) and row[0] == best[0].number) for row in rows),
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
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1150px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; }
dt { color: #666; } dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #666; font-size: .9rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; white-space: nowrap; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
th { background: #f6f6f6; }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0; cursor: pointer; color: inherit; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
tr.best td { background: #fdeee6; font-weight: 600; } tbody tr:hover td { background: #f2f6fb; }
</style>
</head>
<body>
<h1>$title</h1>
<dl>$facts</dl>
<h2>Trials</h2>
<p>Click a heading to sort by it; the best candidate is shaded.</p>
<div class="table"><table id="trials"><thead><tr>$head</tr></thead><tbody>$rows</tbody></table></div>
<h2>Pictures</h2>
$pictures
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
