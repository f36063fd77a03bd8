"""Reports on models of each task, read with an HTML parser."""

import base64
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import msgspec
import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve

import photos
import transfer_core
from tiny_backbone import tiny_backbone
from transfer_core.data.boxes import Boxes, Detections
from transfer_core.metrics.detection import detection_metrics
from transfer_core.model import report_faithfulness
from transfer_core.pipeline import five_steps
from transfer_core.report import Scores, build_report, render_card, render_page
from transfer_core.report.calibration import reliability
from transfer_core.report.precision_recall import curve, logit_interval, precision_recall
from transfer_core.runtime.errors import ConfigurationError, ModelFileError

VOID = {"meta", "link", "img", "br"}
HOSTILE = '</td><script>alert("1")</script>&amp;\'`|[x](y)'


class Page(HTMLParser):
    """Text, elements and attributes of a page; fails where tags are not balanced."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text, self.cells = [], Counter(), [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, *one) for one in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, *one) for one in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, tag, name):
        return [value for one, key, value in self.attributes if (one, key) == (tag, name)]

    @property
    def headings(self):
        return [self.text[n] for n in range(len(self.text)) if self.text[n] in TITLES]


TITLES = (
    "Summary", "Warnings", "Metrics", "Classes", "Confusion matrix", "Precision and recall", "Calibration",
    "Errors", "Groups", "Worst mistakes", "Out-of-domain examples", "Adaptation", "Kept", "Training", "Data",
    "Recipe", "Environment",
)  # fmt: skip


def check(html):
    """Read a page, and check what holds for every one."""
    page = Page(html)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 3
    assert {link[1:] for link in page.values("a", "href")} <= set(ids)
    assert set(page.values("button", "popovertarget")) == {id for id in ids if id.startswith("cell-")} - {
        id for id in ids if id.endswith("-title")
    }
    assert page.tags["html"] == page.tags["main"] == page.tags["h1"] == page.tags["title"] == 1
    assert not {"script", "iframe", "object", "form"} & set(page.tags)
    assert not [one for one in page.attributes if one[1].startswith("on") or one[1] == "style"]
    assert all(url.startswith("data:") for url in page.values("img", "src") + page.values("link", "href"))
    assert len(page.values("img", "alt")) == page.tags["img"]
    assert all(page.values("svg", "aria-label"))
    assert len(page.values("svg", "aria-label")) == page.tags["svg"] == page.tags["figcaption"]
    assert page.tags["caption"] == page.tags["table"] >= page.tags["svg"]
    policy = page.values("meta", "content")[0]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert len(html.encode()) < 1_000_000
    return page


def cells(x):
    return {"x": float(x[0]), "y": float(x[1])}


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).standard_normal((120, 2))


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Train on rows, and save the model, whose file outlives the test."""

    def call(rows, **words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRANSFER_HOME", str(tmp_path_factory.mktemp("home")))
            return transfer_core.train(**{"backbone": "sklearn:StandardScaler", "data": rows, **words})

    return call


@pytest.fixture(scope="module")
def classes(train, points):
    noise = np.random.default_rng(1).standard_normal(len(points))
    labels = [(HOSTILE, "plain")[int(x + e > 0)] for (x, _), e in zip(points, noise, strict=True)]
    rows = [
        {"input": cells(x), "label": label, "place": ("sea", HOSTILE)[n % 2]}
        for n, (x, label) in enumerate(zip(points, labels, strict=True))
    ]
    return train(rows, columns={"group": "place"}), rows


def test_page_of_a_classification(classes, tmp_path):
    model, _ = classes
    page = check(model.report(tmp_path / "a.html").read_text())
    expected = ["Summary", "Metrics", "Classes", "Confusion matrix", "Calibration", "Groups", "Training"]
    assert [title for title in page.headings if title in expected][: len(expected)] == expected
    assert f"{model.metrics['accuracy']:.3f}" in page.text
    assert HOSTILE in page.text


def test_page_with_data_has_its_mistakes_and_reliability(classes, tmp_path):
    model, rows = classes
    wrong = [{**row, "label": "plain"} for row in rows]
    page = check(model.report(tmp_path / "a.html", data=wrong).read_text())
    predicted = [one["label"] for one in model.predict([row["input"] for row in wrong])]
    mistakes = sum(label != "plain" for label in predicted)
    assert (
        f"{mistakes} of 120 predictions are wrong; 30 are shown, those with the highest probability first."
        in (page.text)
    )
    assert page.text.count("Truth: plain") == 30
    assert "Faithfulness of explanations" not in page.text  # of rows
    assert "Share of right predictions by predicted probability, 120 examples" in page.text


def test_reliability_agrees_with_scikit_learn():
    rng = np.random.default_rng(3)
    confidence, right = rng.uniform(0.3, 1, 500), rng.uniform(size=500) < 0.7
    found = reliability(list(zip(confidence.tolist(), right.tolist(), strict=True)))
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    np.testing.assert_allclose([one[0] for one in found], mean)
    np.testing.assert_allclose([one[1] for one in found], accuracy)
    assert sum(one[2] for one in found) == 500


def test_page_of_a_regression(train, points, tmp_path):
    rows = [{"input": cells(x), "label": float(2 * x[0] - x[1])} for x in points]
    model = train(rows, task="regression")
    changed = [dict(row) for row in rows]
    changed[7]["label"] += 40.0
    page = check(model.report(tmp_path / "a.html", data=changed).read_text())
    assert "Errors" in page.text
    assert "Prediction less truth against prediction, 120 values" in page.text
    worst = page.text[page.text.index("Worst mistakes", page.text.index("Errors")) :]
    assert next(text for text in worst if text.startswith("Truth: ")) == f"Truth: {changed[7]['label']:.3f}"


def test_page_of_a_multi_label_model(train, points, tmp_path):
    rows = [
        {"input": cells(x), "label": [n for n, on in zip("ab", x > 0, strict=True) if on]} for x in points
    ]
    model = train(rows, task="multi_label")
    page = check(
        model.report(tmp_path / "a.html", data=[{**row, "label": ["a", "b"]} for row in rows]).read_text()
    )
    predicted = [one["labels"] for one in model.predict([row["input"] for row in rows])]
    wrong = sum(set(labels) != {"a", "b"} for labels in predicted)
    assert f"{wrong} of 120 predictions are wrong; 30 are shown, the worst first." in page.text
    assert "Truth: a, b" in page.text
    assert "Prediction: none" in page.text


@pytest.fixture
def tiny(monkeypatch):
    """A network of three small blocks in place of every backbone."""
    network = tiny_backbone()
    monkeypatch.setattr(five_steps, "open_backbone", lambda *_: network)
    monkeypatch.setattr(five_steps, "describe", lambda *_: network.facts)


def test_page_of_photos_with_hostile_names_and_a_corrupt_one(train, tmp_path, tiny):
    photos.class_folder(tmp_path / "photos", per_class=6)
    odd = min((tmp_path / "photos").iterdir())
    name = '"><img src=x onerror=alert(1)>.png'
    min(odd.iterdir()).rename(odd / name)
    model = train(str(tmp_path / "photos"), backbone="mobilenet_v2")
    others = [{"input": str(p), "label": model.labels[-1]} for p in sorted(odd.iterdir())]
    corrupt = tmp_path / "corrupt.png"
    corrupt.write_bytes((odd / "3.png").read_bytes()[:80])
    given = [*others[:3], {"input": str(corrupt), "label": model.labels[-1]}, *others[3:]]
    html = model.report(tmp_path / "a.html", data=given, on_bad_input="skip").read_text()
    page = check(html)
    assert page.text.count(f"{odd.name}/{name}") == 2
    shown = Counter(
        (section, max(image.size))
        for section in ("Worst mistakes", "Confusion matrix")
        for image in pictures(html, section)
    )
    # An overlay has the size of the network's input.
    mistakes = {("Worst mistakes", 64): 6, ("Worst mistakes", 16): 6}
    assert shown == {**mistakes, ("Confusion matrix", 64): 6, ("Confusion matrix", 48): 1}


def test_page_of_photos_has_the_faithfulness_of_explanations(train, tmp_path, tiny, monkeypatch):
    folder = photos.class_folder(tmp_path / "photos", per_class=6)
    model = train(folder, backbone="mobilenet_v2")
    page = check(model.report(tmp_path / "a.html", data=folder).read_text())
    title = "Faithfulness of explanations"
    assert title in page.text
    inputs = [str(path) for path in sorted((tmp_path / "photos").glob("*/*"))]
    for name, row in zip(("deletion", "insertion"), ("Deletion", "Insertion"), strict=True):
        shown = float(page.text[page.text.index(row) + 2])
        assert shown == pytest.approx(getattr(model.faithfulness(inputs), name), abs=6e-4)
    monkeypatch.setattr(report_faithfulness, "_MOST_SECONDS", 0)
    page = check(model.report(tmp_path / "b.html", data=folder).read_text())
    assert any(text.startswith("Not measured: it would take about") for text in page.text)
    assert "Deletion" not in page.text
    assert title not in check(model.report(tmp_path / "c.html").read_text()).text


def pictures(html, section):
    """The images of a section; only data URIs of JPEG are decoded."""
    part = html.split(f">{section}</h2>")[1].split("</section>")[0]
    return [
        Image.open(BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        for source in Page(f"<section>{part}</section>").values("img", "src")
    ]


def test_a_training_writes_a_report_with_its_test_examples(classes):
    model, _ = classes
    page = check(model.path.with_name("report.html").read_text())
    assert f"{model.metrics['examples']} examples" in " ".join(page.text)
    assert "Time of each step" in page.text
    assert set(model.summary()["seconds"]) == {"choose", "freeze", "head", "train", "evaluate"}


def test_without_kept_examples_the_report_of_a_training_has_no_inputs(train, points):
    rows = [
        {"input": {"x": float(x[0]), "place": f"town {n}"}, "label": "ab"[n % 2]}
        for n, x in enumerate(points)
    ]
    words = {"backbone": "sklearn:ColumnTransformer"}
    kept, dropped = train(rows, **words), train(rows, keep_examples=False, **words)
    assert "place: town" in kept.path.with_name("report.html").read_text()
    assert "place: town" not in dropped.path.with_name("report.html").read_text()
    assert "place: town" in dropped.report(dropped.path.with_name("b.html"), data=rows).read_text()


def test_precision_and_recall_agree_with_scikit_learn():
    rng = np.random.default_rng(5)
    truth = rng.uniform(size=200) < 0.3
    scores = np.round(truth * 0.3 + rng.uniform(size=200), 1)
    precision, recall, _ = precision_recall_curve(truth, scores)
    expected = list(zip(recall[:-1][::-1], precision[:-1][::-1], strict=True))
    np.testing.assert_allclose(curve(scores, truth)[1:], expected)
    labels = np.stack([truth, ~truth], axis=1)
    section = precision_recall(Scores(np.stack([scores, 1 - scores], 1), labels, ["sea", None] * 100), "ab")
    found = {row[0]: float(row[1]) for table in section.tables for row in table.rows}
    both = np.stack([scores, 1 - scores], 1)[::2].ravel(), labels[::2].ravel()
    for name, value in (
        ("a", average_precision_score(truth, scores)),
        ("b", average_precision_score(~truth, 1 - scores)),
        ("sea", average_precision_score(both[1], both[0])),
    ):
        assert found[name] == pytest.approx(value, abs=5e-4)


def test_the_interval_of_an_average_precision_covers_it():
    """The expected average precision of a model of known scores, on 300 samples of 200 examples."""
    rng = np.random.default_rng(6)

    def sample(count):
        truth = np.arange(count) < count // 4
        return truth, truth * 1.0 + rng.standard_normal(count)

    true = average_precision_score(*sample(200_000))
    hits = 0
    for _ in range(300):
        truth, scores = sample(200)
        low, high = logit_interval(average_precision_score(truth, scores), 50)
        hits += low <= true <= high
    assert 0.91 <= hits / 300 <= 1


BOX = {"label": "brick", "x": 8, "y": 8, "width": 40, "height": 30}


def test_page_of_a_detector_with_data_has_thumbnails(train, tmp_path, tiny):
    rows = []
    for n in range(8):
        path = photos.save(tmp_path / f"{n}.png", photos.pixels((220, 40, 40), n))
        rows.append({"input": path, "boxes": [BOX]})
    words = {"head": {"type": "fcos", "channels": 32, "layers": 1}, "epochs": 1, "batch_size": 4}
    model = train(rows, backbone="mobilenet_v2", task="detection", image_size=96, **words)
    page = check(model.report(tmp_path / "a.html", data=rows).read_text())
    assert page.tags["img"] == len(model.evaluate(rows)["worst"]) > 0
    first = pictures((tmp_path / "a.html").read_text(), "Worst mistakes")[0]
    red, green, _ = np.asarray(first, int).transpose(2, 0, 1)
    assert (green > red + 40).any()  # the frame of the true box around a red brick


def summary(task, modality, metrics, labels=("a", "b"), history=()):
    return {
        "path": "/models/tiny.transfer", "task": task, "labels": list(labels), "backbone": "tiny",
        "embedding_width": 6, "modality": modality, "columns": [], "metrics": metrics,
        "history": list(history),
        "recipe": {"backbone": "tiny", "steps": [{"type": "train", "epochs": 2}]}, "sizes": {"train": 8},
        "data": {}, "instance_weights": {}, "warnings": [HOSTILE], "seconds": {},
        "created_at": "2026-01-01T00:00:00Z", "versions": {"numpy": "2"}, "bytes": 1000,
    }  # fmt: skip


def page_of(facts):
    report = build_report(facts)
    return render_page(report.title, report.sections)


def test_page_of_a_detector():
    box = np.array([[2.0, 2.0, 10.0, 10.0]])
    truth = [
        Boxes(box, np.array([n % 2]), np.zeros(1, bool), np.array([64.0]), (20.0, 20.0)) for n in range(4)
    ]
    found = [Detections(box, np.array([0]), np.array([0.9])) for _ in range(4)]
    names = ["1.jpg", HOSTILE, "3.jpg", "4.jpg"]
    metrics = detection_metrics(
        found, truth, ["a", "b"], [0.5, 0.5], np.array([box[0], box[0]]), [1, 1], 0, names
    )
    page = check(page_of(summary("detection", "image", metrics)))
    assert {"Precision and recall", "Worst mistakes", HOSTILE, "Missed objects: 1"} <= set(page.text)


def test_page_of_a_translation():
    score = {"chrf2": 60.0, "bleu": 40.0}
    metrics = {
        **score, "exact_match": 0.25, "examples": 9,
        "intervals": {"chrf2": [50.0, 70.0], "bleu": [30.0, 50.0]},
        "baseline": {"chrf2": 20.0, "bleu": 7.0}, "untuned": {"chrf2": 44.5, "bleu": 17.0}, "signatures": {},
        "worst": [{"source": HOSTILE, "target": "b", "prediction": "c", "chrf2": 2.0}],
    }  # fmt: skip
    history = [
        {"step": "fine_tune", "epoch": n, "loss": 3.0 / n, "validation_loss": 2.0 / n} for n in (1, 2, 3)
    ]
    page = check(page_of(summary("translation", "text", metrics, history=history)))
    assert {HOSTILE, "44.500", "Before training", "Loss of the step fine-tune by epoch"} <= set(page.text)
    assert "60" in page.text
    assert page.tags["polyline"] == 2


def test_page_of_a_model_without_metrics():
    page = check(page_of(summary("classification", "table", {})))
    assert "No examples were held out, so nothing was measured." in page.text


def test_many_classes_stay_within_bounds():
    count = 1200
    per_class = [
        {"label": f"{'long' * 30}{n}", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 3}
        for n in range(count)
    ]
    metrics = {
        "accuracy": 0.5, "examples": 9, "intervals": {}, "baseline": {}, "per_class": per_class,
        "confusion_matrix": [[1] * count] * count,
        "most_confused": [{"truth": "a", "predicted": "b", "count": 2}],
    }  # fmt: skip
    labels = [one["label"] for one in per_class]
    page = check(page_of(summary("classification", "image", metrics, labels)))
    assert page.tags["tr"] < 1100


def test_model_card_has_metadata_that_yaml_reads(classes, tmp_path):
    model, _ = classes
    _, front, body = model.report(tmp_path / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(front)
    assert found["library_name"] == "transfer-rb"
    assert found["pipeline_tag"] == "tabular-classification"
    results = found["model-index"][0]["results"][0]
    values = {one["type"]: one["value"] for one in results["metrics"]}
    assert values["accuracy"] == model.metrics["accuracy"]
    groups = model.metrics["groups"]["per_group"]
    assert len(found["model-index"][0]["results"]) == 1 + len(groups) == 3
    # The reader of the Hugging Face Hub.
    read = ModelCard.load(tmp_path / "README.md").data.eval_results
    assert {(one.dataset_name, one.metric_type): one.metric_value for one in read}.items() >= {
        ((f"{one['examples']} examples, group {one['group']}", "accuracy"), one["value"]) for one in groups
    }
    assert "<script>" not in body.replace("\\<script\\>", "")
    assert "\n## Classes\n" in body


def test_metadata_of_odd_names_is_yaml():
    odd = summary("classification", "image", {}) | {"path": "/m/\x85 \u2028 \x7f: #😀\ud800.transfer"}
    front = render_card(build_report(odd)).split("---\n")[1]
    assert yaml.safe_load(front)["library_name"] == "transfer-rb"


def test_errors(classes, tmp_path):
    model, _ = classes
    with pytest.raises(
        ConfigurationError, match=r"can't write a report to .*a\.pdf\. Fix: end the name with \.html"
    ):
        model.report(tmp_path / "a.pdf")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        model.report(tmp_path / "none" / "a.html")


def test_malformed_metrics_are_an_error_of_the_file(classes, tmp_path):
    model, _ = classes
    for metrics in ({"accuracy": 0.5}, {"per_class": 3}, {"accuracy": 0.5, "intervals": 1, "baseline": []}):
        header = msgspec.structs.replace(model.header, metrics=metrics)
        with pytest.raises(ModelFileError, match="can't be used"):
            replace(model, header=header).report(tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()
