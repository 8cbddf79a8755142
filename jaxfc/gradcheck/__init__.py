r"""Tests of hand-written VJPs: against autodiff and against centred differences, entry by entry, in float64.

`check_vjp(f, *args)` raises where a gradient is wrong, and so is a test; `compare` returns the report of a wrong
gradient too. At a drawn cotangent $dy$, beside the hand-written VJP stand

- autodiff of a plain twin: a function of the same values that has no hand-written VJP. Where none is given, it is the
  same program with the hand-written rules taken out;
- centred differences, $\sum_j dy_j \frac{f_j(x + h e_i) - f_j(x - h e_i)}{2h}$ for each entry $i$ of each argument.

Relative errors, and the floors that keep rounding out of them, are those of `jaxfc.gradcheck.report`.
"""

from jaxfc.gradcheck.check import check_vjp, compare, numerical_vjp
from jaxfc.gradcheck.library import check_layers, check_network
from jaxfc.gradcheck.report import AUTODIFF_TOLERANCE, DIFFERENCE_TOLERANCE, Report, Row, table
from jaxfc.gradcheck.twin import plain_twin

__all__ = [
    "AUTODIFF_TOLERANCE",
    "DIFFERENCE_TOLERANCE",
    "Report",
    "Row",
    "check_layers",
    "check_network",
    "check_vjp",
    "compare",
    "numerical_vjp",
    "plain_twin",
    "table",
]
