"""Write a report on a trained model, with predictions for labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from transfer_core.data import Dataset, Row, naming_all
from transfer_core.data.bad_input import printable
from transfer_core.model.evaluation import labelled_data, warn_about
from transfer_core.model.report_examples import Detail, drawn_worst, examples_of
from transfer_core.model.report_faithfulness import faithfulness_on
from transfer_core.model.restore import use_of
from transfer_core.model_file.usage import REPORT
from transfer_core.report import Examples, Report, build_report, render_card, render_page
from transfer_core.runtime.atomic import write_text
from transfer_core.runtime.errors import ConfigurationError, TransferError
from transfer_core.runtime.permissions import FILE
from transfer_core.runtime.progress import Progress

if TYPE_CHECKING:
    from transfer_core.model.model import Model
    from transfer_core.model.pooled_predictor import Embeddings, PooledPredictor

# Explanations and pictures of a report on request, of the one that each training writes in a second, and of
# a model card, which has none.
_ON_REQUEST, _OF_RUN, _OF_CARD = Detail(8, 240), Detail(0, 60), Detail(0, 0)


def write_report(
    model: Model,
    target: Path,
    data: Any,
    columns: Mapping[str, Any] | None,
    on_bad_input: str,
    mode: int | None,
    streams: Mapping[str, Iterable[Row]],
    progress: Progress,
) -> Path:
    """See `Model.report`."""
    renderers = {".html": _page, ".md": render_card}
    if target.suffix.lower() not in renderers:
        raise ConfigurationError(
            f"can't write a report to {printable(str(target))}. Fix: end the name with .html (a page) or .md "
            "(a model card)"
        )
    metrics, examples = None, None
    if data is not None:
        with labelled_data(model, data, columns, on_bad_input, streams, progress) as dataset:
            progress.stage("evaluate", f"measure on {len(dataset)} {model.modality.many}")
            with naming_all([dataset], model.modality, progress):
                detail = _ON_REQUEST if target.suffix.lower() == ".html" else _OF_CARD
                metrics, examples = _measured(model, dataset, on_bad_input, detail, progress)
        warn_about(model, metrics, progress)
    # Metrics in a file may have any form.
    with use_of(model.path):
        text = renderers[target.suffix.lower()](build_report(model.summary(), metrics, examples))
    write_text(target, text, mode)
    return target


def write_run_report(model: Model, test: Dataset, embeddings: Embeddings | None, progress: Progress) -> None:
    """Write the report of a training on its test examples beside the model file; a failure is a warning.

    Parameters
    ----------
    model
        The trained model, with metrics on the test examples.
    test
        The N test examples, which may be none.
    embeddings
        (N, D); None for tasks that aren't computed from embeddings.
    progress
        Receives the warning.
    """
    target = model.path.with_name(REPORT)
    try:
        examples = Examples()
        if len(test) and model.recipe.keep_examples:
            if embeddings is not None:
                examples = examples_of(model, test, embeddings, _OF_RUN)
            elif model.task.needs == "feature_maps":
                examples = drawn_worst(model, test, model.metrics)
        write_text(target, _page(build_report(model.summary(), None, examples)), FILE)
    except (TransferError, OSError) as error:
        progress.warning(f"no report was written to {target}: {error}")


def _page(report: Report) -> str:
    return render_page(report.title, report.sections)


def _measured(
    model: Model, dataset: Dataset, on_bad_input: str, detail: Detail, progress: Progress
) -> tuple[dict[str, Any], Examples]:
    """Metrics, and the examples to show."""
    if model.task.needs != "pooled":
        metrics = model.predictor.evaluate(dataset, on_bad_input, progress)
        return metrics, drawn_worst(model, dataset, metrics)
    predictor = cast("PooledPredictor", model.predictor)
    embeddings, dataset = predictor.embed_readable(dataset, on_bad_input, progress)
    examples = examples_of(model, dataset, embeddings, detail)
    if detail.explained:
        examples = replace(examples, faithfulness=faithfulness_on(model, dataset))
    return predictor.score(embeddings, dataset), examples
