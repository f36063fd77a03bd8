"""The methods of the worker by name, each with its lane; parameters are those of the functions."""

from __future__ import annotations

import importlib
from contextlib import suppress

from transfer_core.worker import machine_methods, model_methods, recipe_methods
from transfer_core.worker.compute_lock import COMPUTE_LOCK, exclusive
from transfer_core.worker.server import Method


def import_engines() -> None:
    """Warm up: import the modules of trainings and predictions before the first call; none needs torch."""
    # The call that needs a missing or broken package reports it.
    for name in ("transfer_core.pipeline.five_steps", "transfer_core.pipeline.pooled_steps"):
        with suppress(Exception):
            importlib.import_module(name)


METHODS = {
    "train": Method(exclusive(recipe_methods.train, COMPUTE_LOCK), "compute"),
    "resume": Method(exclusive(recipe_methods.resume, COMPUTE_LOCK), "compute"),
    "check": Method(recipe_methods.check, "evaluate"),
    "audit": Method(exclusive(recipe_methods.audit, COMPUTE_LOCK), "compute"),
    "rank": Method(exclusive(recipe_methods.rank, COMPUTE_LOCK), "compute"),
    "estimate": Method(exclusive(recipe_methods.estimate, COMPUTE_LOCK), "compute"),
    "learning_curve": Method(exclusive(recipe_methods.learning_curve, COMPUTE_LOCK), "compute"),
    "compare_domains": Method(recipe_methods.compare_domains, "evaluate"),
    "map_labels": Method(recipe_methods.map_labels, "evaluate"),
    "soup": Method(exclusive(recipe_methods.soup, COMPUTE_LOCK), "compute"),
    "runs": Method(machine_methods.runs, "light"),
    "remove_run": Method(machine_methods.remove_run, "light"),
    "prune_runs": Method(machine_methods.prune_runs, "light"),
    "predict": Method(model_methods.predict, "serve"),
    "stream": Method(model_methods.stream, "serve"),
    "embed": Method(model_methods.embed, "serve"),
    "serving": Method(machine_methods.serving_stats, "now"),
    "evaluate": Method(model_methods.evaluate, "evaluate"),
    "report": Method(model_methods.report, "evaluate"),
    "explain": Method(model_methods.explain, "evaluate"),
    "predict_all": Method(model_methods.predict_all, "evaluate"),
    "features": Method(model_methods.features, "evaluate"),
    "similar": Method(model_methods.similar, "evaluate"),
    "influential": Method(model_methods.influential, "evaluate"),
    "attention": Method(model_methods.attention, "evaluate"),
    "faithfulness": Method(model_methods.faithfulness, "evaluate"),
    "select": Method(model_methods.select, "evaluate"),
    "describe": Method(model_methods.describe, "light"),
    "reload": Method(model_methods.reload, "light"),
    "save": Method(model_methods.save, "light"),
    "draw": Method(machine_methods.draw, "light"),
    "export": Method(model_methods.export, "evaluate"),
    "backbones": Method(machine_methods.backbones, "light"),
    "backbone": Method(machine_methods.backbone, "light"),
    "doctor": Method(machine_methods.doctor, "light"),
    "cache_stats": Method(machine_methods.cache_stats, "light"),
    "cache_verify": Method(machine_methods.cache_verify, "light"),
    "cache_prune": Method(machine_methods.cache_prune, "light"),
    "cache_clear": Method(machine_methods.cache_clear, "light"),
    "ping": Method(machine_methods.ping, "now"),
}

# Without micro-batching: in the embedded worker, one call computes at a time.
UNBATCHED = {
    "predict": Method(model_methods.predict_alone, "compute"),
    "stream": Method(model_methods.stream_alone, "compute"),
    "embed": Method(model_methods.embed_alone, "compute"),
}
