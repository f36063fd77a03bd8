"""The head alone on 100,000 rows of features: ours, cross-validated, beside scikit-learn.

Features can't be handed to the public API, which has images; this calls the room `transfer_core.heads`.
"""

from __future__ import annotations

from statistics import median

from benchmarks.environment import ours, peer
from benchmarks.part import Measured, Options
from benchmarks.process import alternate, fresh
from benchmarks.table import Section, Table, percent, seconds, times

OURS, SKLEARN = "ours, strength by 5-fold cross-validation", "scikit-learn, C=1, one fit"


def measure(options: Options) -> Measured:
    """Both once per slow run; the time is that of the fit."""
    rows = options.count(100_000, 3_000)
    commands = {
        OURS: fresh(ours("head_ours.py", str(rows))),
        SKLEARN: fresh(peer("head_sklearn.py", str(rows))),
    }
    found = alternate(commands, dict.fromkeys(commands, options.slow_runs), options.say)
    return {"rows": rows, "runs": {name: [run.plain() for run in some] for name, some in found.items()}}


def report(measured: Measured) -> Section:
    """Beside each other; there is no target for it."""
    good = {name: [run for run in runs if not run["problem"]] for name, runs in measured["runs"].items()}
    fits = {name: [run["said"]["fit_s"] for run in runs] for name, runs in good.items() if runs}
    rows = []
    for name, runs in measured["runs"].items():
        if not good[name]:
            rows.append((name, f"did not run: {runs[-1]['problem']}", "", "", ""))
            continue
        faster = times(median(fits[name]) / median(fits[OURS])) if name != OURS and OURS in fits else ""
        peak = f"{median(run['peak_mb'] for run in good[name]):.0f} MB"
        rows.append((name, seconds(fits[name]), faster, peak, percent(good[name][0]["said"]["accuracy"])))
    return Section(
        title="The head alone",
        text=(
            f"{measured['rows']:,} rows of 1,280 features, 10 classes: clusters that overlap. "
            "Accuracy on 10,000 more.",
        ),
        tables=(Table(("", "fit", "ours is faster", "peak memory", "accuracy"), tuple(rows)),),
    )
