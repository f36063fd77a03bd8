"""Display in notebooks: tables of results, with hostile texts escaped."""

import json
from html.parser import HTMLParser

import pytest

import transfer_core
from transfer_core.findings.examples import Finding
from transfer_core.findings.report import AuditReport
from transfer_core.pipeline.learning_curve import LearningCurve, Point

HOSTILE = '<script>alert("1")</script>&'


class Cells(HTMLParser):
    """The texts of the cells, by row; no elements but those of tables."""

    def __init__(self, html):
        super().__init__()
        self.rows = []
        self.in_cell = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert tag in {"table", "caption", "tr", "th", "td"}
        if tag == "tr":
            self.rows.append([])
        self.in_cell = tag in {"th", "td"}
        if self.in_cell:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data.strip()


def cells(result):
    return Cells(result._repr_html_()).rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    labels = (HOSTILE.replace('"', ""), "b")
    rows = "".join(f"{i % 2 + i / 100},{labels[i % 2]}\n" for i in range(40))
    file.write_text("x,label\n" + rows)
    return transfer_core.train(backbone="sklearn:StandardScaler", data=str(file)), file, labels


def test_models_predictions_and_metrics(trained):
    model, file, labels = trained
    assert ["labels", ", ".join(sorted(labels))] in cells(model)
    one = model.predict({"x": 0.1})
    shown = dict(cells(one))
    assert shown["label"] == one["label"]
    assert {f"scores {label}" for label in labels} <= set(shown)
    (many,) = model.predict([{"x": 0.1}])
    assert cells(many) == cells(one)
    metrics = model.evaluate(str(file))
    assert isinstance(metrics, dict)
    assert json.loads(json.dumps(metrics))["accuracy"] == metrics["accuracy"]
    assert ["accuracy", f"{metrics['accuracy']:.4g}"] in cells(metrics)
    per_class = [row for row in cells(metrics) if row[0] in labels]
    assert [row[0] for row in per_class] == [row["label"] for row in metrics["per_class"]]
    assert cells(model.metrics)


def test_learning_curves_and_audits():
    point = Point(5, 0.5, 0.25, 0.75)
    curve = LearningCurve("image", "accuracy", (point,), (point,), ())
    assert cells(curve)[-2:] == [["examples", "value", "low", "high"], ["5", "0.5", "0.25", "0.75"]]
    finding = Finding("outlier", HOSTILE, "a.jpg", HOSTILE, None, 0.5)
    report = AuditReport("image", "classification", 30, {HOSTILE: 30}, (finding,) * 25)
    rows = cells(report)
    assert [f"labels {HOSTILE}", "30"] in rows
    assert len(rows) == 4 + 1 + 20
    assert rows[-1][:3] == ["outlier", HOSTILE, "a.jpg"]
