"""The runs of this machine: list them, remove one, or prune those beyond a limit.

>>> from transfer_core import runs
>>> [run["id"] for run in runs.list_runs() if run["resumable"]]  # doctest: +SKIP
['20260314-150926-5e35a8']
"""

from transfer_core.runs.folder import RunFacts, RunFolder
from transfer_core.runs.housekeeping import prune, remove, runs_keep, runs_limit, upkeep
from transfer_core.runs.listing import list_runs, resumable
from transfer_core.runs.opening import find_run, model_date, new_run, old_run

__all__ = [
    "RunFacts",
    "RunFolder",
    "find_run",
    "list_runs",
    "model_date",
    "new_run",
    "old_run",
    "prune",
    "remove",
    "resumable",
    "runs_keep",
    "runs_limit",
    "upkeep",
]
