"""scikit-learn's transformers in a graph against the same in a trained model."""

import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported

import transfer_core
from exported import Exported, assert_same
from photos import class_folder
from transfer_core.export.session import terms
from transfer_core.runtime.errors import ConfigurationError

pytestmark = [pytest.mark.extras, pytest.mark.slow]

OF_TABLES = [
    "StandardScaler",
    "MinMaxScaler(clip=True) | PCA(n_components=3)",
    "MaxAbsScaler | Normalizer",
    "RobustScaler | Normalizer(norm='max') | Binarizer(threshold=0.2)",
    "SimpleImputer(strategy='mean', add_indicator=True) | Normalizer(norm='l1')",
    "StandardScaler | PolynomialFeatures(degree=2) | VarianceThreshold(threshold=0.1)",
    "MissingIndicator",
    "StandardScaler | KMeans(n_clusters=4)",
    "StandardScaler | Nystroem(n_components=10)",
    "StandardScaler | KernelPCA(n_components=3, kernel='rbf')",
    "StandardScaler | RBFSampler(n_components=20)",
    "MinMaxScaler | SkewedChi2Sampler(n_components=20)",
    "MinMaxScaler | BernoulliRBM(n_components=4, n_iter=3)",
    "StandardScaler | FastICA(n_components=2)",
    "StandardScaler | FactorAnalysis(n_components=2)",
    "StandardScaler | SparsePCA(n_components=2, max_iter=5)",
    "StandardScaler | GaussianRandomProjection(n_components=3)",
    "ColumnTransformer | TruncatedSVD(n_components=2)",
]
TEXTS = [
    ("Der Zug ist SPÄT, wirklich spät!", "late"),
    ("the train was late again; and late it stayed", "late"),
    ("on time, on time, on time", "early"),
    ("früh dran: der Zug kam früh", "early"),
] * 6
QUESTIONS = [
    *("Zug ZUG zug", "naïve café Ünïcödé late", "x " * 50, "İstanbul ẞ ﬁn early", "日本 の late time"),
    *(text for text, _ in TEXTS[:4]),
]
OF_TEXTS = [
    "TfidfVectorizer",
    "TfidfVectorizer(binary=True, norm='l1', stop_words='english', ngram_range=(1, 1))",
    "TfidfVectorizer(analyzer='char', ngram_range=(2, 3), lowercase=False)",
    "TfidfVectorizer(analyzer='char_wb', ngram_range=(1, 5))",
    "CountVectorizer(strip_accents='unicode', ngram_range=(1, 3))",
    "TfidfVectorizer(use_idf=False) | TruncatedSVD(n_components=3)",
]


def numbers(count=60, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(count):
        a, b, c = rng.normal(0, 1 + i % 2), rng.normal(10, 3), float(rng.integers(0, 5))
        row = {"a": None if i % 7 == 0 else float(a), "b": float(b), "c": None if i % 5 == 3 else c}
        yield {"input": row, "label": "high" if a + b + c > 12 else "low"}


@pytest.mark.parametrize("transformers", OF_TABLES)
def test_tables(tmp_path, transformers):
    model = transfer_core.train(backbone=f"sklearn:{transformers}", data=list(numbers()))
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    for row in [*numbers(20, seed=1)]:
        found = exported.of_row(row["input"])
        assert np.abs(found["embedding"][0] - model.embed(row["input"])).max() < 1e-4
        assert_same(found, model.predict(row["input"]), model.labels)


@pytest.mark.parametrize("transformers", OF_TEXTS)
def test_texts(tmp_path, transformers):
    data = [{"input": text, "label": label} for text, label in TEXTS]
    model = transfer_core.train(backbone=f"sklearn:{transformers}", data=data)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    assert exported.metadata["text"]["kind"] == "terms"
    vectorizer = model.backbone.blocks[0].estimators[0]
    for text in QUESTIONS:
        tokens = np.array([list(terms(vectorizer, text)) or [""]], object)
        found = exported.run(tokens=tokens)
        assert np.abs(found["embedding"][0] - model.embed(text)).max() < 1e-5, text
        assert_same(found, model.predict(text), model.labels)


def test_pairs_of_texts(tmp_path):
    data = [{"input": [text, "late or early"], "label": label} for text, label in TEXTS]
    model = transfer_core.train(backbone="sklearn:TfidfVectorizer", data=data)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    assert exported.metadata["text"]["paired"] is True
    found = exported.run(
        tokens=np.array([["the", "train", "early"]], object), tokens_2=np.array([["late", "or"]], object)
    )
    assert_same(found, model.predict(("the train early", "late or")), model.labels)


@pytest.mark.parametrize("pixels", ["pixels(size=12)", "pixels(size=8, color=False) | PCA(n_components=4)"])
def test_pixels(tmp_path, pixels):
    photos = class_folder(tmp_path / "photos")
    model = transfer_core.train(backbone=f"sklearn:{pixels}", data=photos)
    model.export(tmp_path / "m.onnx")
    exported = Exported(tmp_path / "m.onnx")
    from PIL import Image

    for name in ("brick/0.png", "leaf/3.png"):
        image = np.asarray(Image.open(f"{photos}/{name}"))[None]
        assert_same(exported.run(image=image), model.predict(f"{photos}/{name}"), model.labels)


@pytest.mark.parametrize(
    ("transformers", "data"),
    [
        ("StandardScaler | QuantileTransformer(n_quantiles=5)", list(numbers())),
        ("HashingVectorizer(n_features=64)", [{"input": text, "label": label} for text, label in TEXTS]),
    ],
)
def test_refused(tmp_path, transformers, data):
    model = transfer_core.train(backbone=f"sklearn:{transformers}", data=data)
    with pytest.raises(ConfigurationError, match=r"can't be exported: .* Fix: train with"):
        model.export(tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_no_network_to_make_smaller(tmp_path, precision):
    model = transfer_core.train(backbone="sklearn:StandardScaler", data=list(numbers()))
    with pytest.raises(ConfigurationError, match=r"has no network to store in .* Fix: export in float32"):
        model.export(tmp_path / "m.onnx", precision=precision, calibration=list(numbers()))
