"""Report on a trained model: a self-contained page, or a model card."""

from transfer_core.report.card import render_card
from transfer_core.report.content import Example, Examples, Report, Scores, Section, Table, build_report
from transfer_core.report.page import render_page

__all__ = [
    "Example",
    "Examples",
    "Report",
    "Scores",
    "Section",
    "Table",
    "build_report",
    "render_card",
    "render_page",
]
