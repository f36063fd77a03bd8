"""scikit-learn's transformers as backbones, beside scikit-learn itself on the same inputs."""

import json
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors
from scipy.sparse import csr_matrix, issparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import all_estimators

from transfer_core import backbones
from transfer_core.backbones.scikit_learn import scikit_learn_loading
from transfer_core.backbones.scikit_learn.table_columns import columns_of, complaints
from transfer_core.backbones.scikit_learn.transformer_names import (
    REFUSED,
    TRANSFORMERS,
    Step,
    modality_of,
    parse,
)
from transfer_core.backbones.scikit_learn.transformer_state import from_bytes, to_bytes
from transfer_core.data.example import Cell
from transfer_core.features import build_extractor
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import (
    ConfigurationError,
    DataError,
    DependencyError,
    ModelFileError,
    RecipeError,
)

TEXTS = ["the cat sat", "the dog sat down", "a cat and a dog", "dogs bark", "cats sit and sit", "the end"]
NUMBERS = np.abs(np.random.default_rng(0).normal(size=(60, 8)))


def fitted(name, inputs, columns=(), seed=0, warn=lambda message: None):
    return scikit_learn_loading.fit(backbones.load(name), inputs, columns, seed, warn)


def restored(backbone):
    """The backbone as a saved model has it."""
    tensors = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    return backbones.restore(backbone.facts, tensors, backbone.weights, backbone.weights_digest)


def refusal_of(name):
    with pytest.raises(RecipeError) as caught:
        backbones.load(name)
    (problem,) = caught.value.problems
    assert problem.path == "backbone"
    return problem.message


class TestNames:
    def test_a_chain_with_parameters(self):
        assert parse("pixels(size=16) | PCA(n_components=0.9, whiten=True) | Normalizer") == (
            Step("pixels", {"size": 16}),
            Step("PCA", {"n_components": 0.9, "whiten": True}),
            Step("Normalizer", {}),
        )

    @pytest.mark.parametrize(
        ("name", "modality"),
        [
            ("TfidfVectorizer | TruncatedSVD(n_components=2)", "text"),
            ("HashingVectorizer", "text"),
            ("pixels", "image"),
            ("PCA", "image"),
            ("KMeans(n_clusters=3)", "image"),
            ("ColumnTransformer | PCA", "table"),
            ("StandardScaler", "table"),
            ("TfidfTransformer", "table"),
        ],
    )
    def test_the_first_step_says_what_goes_in(self, name, modality):
        assert modality_of(parse(name)) == modality
        assert backbones.facts(f"sklearn:{name}").modality == modality

    @pytest.mark.parametrize(
        ("name", "beginning"),
        [
            ("Tfidfvectorizer", 'unknown transformer of scikit-learn "Tfidfvectorizer", did you mean "Tfidf'),
            ("PCA(n_component=3)", 'PCA has no parameter "n_component", did you mean "n_components"?'),
            ("TargetEncoder", "sklearn:TargetEncoder is fitted on labels"),
            ("RandomForestClassifier", "sklearn:RandomForestClassifier is a predictor, not a transf"),
            ("PCA | TfidfVectorizer", "TfidfVectorizer takes the inputs themselves: it can only be the"),
            ("TfidfVectorizer | pixels", "pixels takes the inputs themselves"),
            ("CountVectorizer(input='filename')", "CountVectorizer receives the texts themselves"),
            ("pixels(size=0)", "pixels: size is a whole number from 1 to 1024 (got 0)"),
            ("pixels(color=1)", "pixels: color is True or False (got 1)"),
            ("pixels(n=1)", "pixels takes size and color (got n)"),
            ("ColumnTransformer(remainder='drop')", "ColumnTransformer takes min_frequency and max_categ"),
            ("", "can't read"),
            ("PCA(3)", "can't read"),
            ("PCA(n_components=open('x'))", "can't read"),
            ("PCA(**{'n_components': 3})", "can't read"),
            ("decomposition.PCA", "can't read"),
            ("PCA + PCA", "can't read"),
            ("(" * 500, "can't read"),
        ],
    )
    def test_wrong_names(self, name, beginning):
        assert refusal_of(f"sklearn:{name}").startswith(beginning)

    def test_every_transformer_of_scikit_learn_is_offered_or_refused_with_a_reason(self):
        theirs = {name for name, found in all_estimators() if hasattr(found, "transform")}
        theirs |= {name for name, _ in all_estimators(type_filter="transformer")}
        assert len(theirs) > 75
        assert theirs == set(TRANSFORMERS) | set(REFUSED)
        assert not set(TRANSFORMERS) & set(REFUSED)

    def test_there_are_no_weights(self):
        with pytest.raises(
            RecipeError, match=r"^weights: sklearn:PCA has no weights, it is fitted on your ex"
        ):
            backbones.load("sklearn:PCA", "random")

    def test_without_scikit_learn_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(scikit_learn_loading, "find_spec", lambda name: None)
        with pytest.raises(DependencyError, match=r"pip install 'transfer-core\[sklearn\]'"):
            backbones.load("sklearn:PCA")


def made(name):
    estimator = getattr(import_module(f"sklearn.{TRANSFORMERS[name]}"), name)()
    small = {
        "random_state": 0,
        "n_components": 4,
        "n_clusters": 3,
        "n_features": 64,
        "n_iter": 3,
        "max_iter": 20,
    }
    small |= {"n_quantiles": 20, "n_init": 1, "threshold": 0.5}
    known = {word: value for word, value in small.items() if word in estimator.get_params()}
    return estimator.set_params(**known)


def inputs_for(name):
    if name.endswith("Vectorizer"):
        return TEXTS
    gaps = NUMBERS.copy()
    gaps[3, 2] = np.nan
    return gaps if TRANSFORMERS[name] == "impute" else NUMBERS


def dense(values):
    return values.toarray() if issparse(values) else np.asarray(values, dtype=float)


class TestState:
    @pytest.mark.parametrize("name", sorted(set(TRANSFORMERS) - {"ColumnTransformer"}))
    @pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    def test_what_is_read_gives_what_was_saved_gives(self, name):
        inputs = inputs_for(name)
        estimator = made(name).fit(inputs)
        content = to_bytes(estimator)
        again = from_bytes(content)
        expected = dense(estimator.transform(inputs))
        assert expected.std() > 0
        np.testing.assert_allclose(dense(again.transform(inputs)), expected, rtol=1e-6, atol=1e-9)
        assert to_bytes(again) == content
        ones = [dense(again.transform(inputs[i : i + 1])).reshape(1, -1) for i in range(4)]
        one_by_one = np.concatenate(ones)
        np.testing.assert_allclose(one_by_one, expected[:4], rtol=1e-5, atol=1e-7)

    def test_a_column_transformer(self):
        rows = np.array([[1.0, "a"], [2.0, "b"], [np.nan, "a"], [4.0, "c"], [5.0, "b"]], dtype=object)
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        rare = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False)
        whole = ColumnTransformer([("n", numbers, [0]), ("c", rare, [1])]).fit(rows)
        again = from_bytes(to_bytes(whole))
        new = np.array([[3.0, "new"], [3.0, "b"]], dtype=object)
        assert np.array_equal(again.transform(new), whole.transform(new))
        assert again.transform(new).tolist()[0][1:] == [0, 0, 1]

    def test_code_is_not_saved(self):
        with pytest.raises(
            ConfigurationError, match=r"can't be saved, it contains sklearn.*FunctionTransformer"
        ):
            to_bytes([FunctionTransformer(np.log)])
        with pytest.raises(ConfigurationError, match=r"can't be saved, it contains builtins\.function"):
            to_bytes(TfidfVectorizer(tokenizer=lambda text: text.split()))

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({"estimator": ["Popen", {"dict": []}]}, 'something called "Popen": refused'),
            ({"estimator": ["FunctionTransformer", {"dict": []}]}, "FunctionTransformer"),
            ({"function": ["os", "system"]}, 'something called "function"'),
            ({"dtype": "nonsense"}, "damaged"),
            ({"tensor": ["7", [1], "C"]}, "damaged"),
            ({"estimator": ["PCA"]}, "damaged"),
            ({"a": 1, "b": 2}, "damaged"),
        ],
    )
    def test_nothing_else_is_read(self, state, message):
        with pytest.raises(ModelFileError, match=message):
            from_bytes(with_state(to_bytes(1), state))

    def test_bytes_that_are_no_file(self):
        for content in (b"", b"x" * 100, to_bytes(PCA())[:-5]):
            with pytest.raises(ModelFileError, match="damaged"):
                from_bytes(content)

    def test_places_outside_of_an_array_are_refused(self):
        matrix = csr_matrix(([1.0], [1], [0, 1]), shape=(1, 2))
        assert dense(from_bytes(to_bytes(matrix))).tolist() == [[0, 1]]
        matrix.indices[0] = 10**6
        with pytest.raises(ModelFileError, match="damaged"):
            from_bytes(to_bytes(matrix))
        encoder = OneHotEncoder(min_frequency=2).fit([["a"], ["a"], ["b"], ["c"]])
        from_bytes(to_bytes(encoder))
        encoder._default_to_infrequent_mappings[0][-1] = 10**6
        with pytest.raises(ModelFileError, match="a category is outside of its columns"):
            from_bytes(to_bytes(encoder))

    def test_a_vocabulary_that_points_elsewhere_does_not_crash(self):
        backbone = fitted("sklearn:CountVectorizer | TruncatedSVD(n_components=2)", TEXTS)
        vectorizer = backbone.blocks[0].estimators[0]
        vectorizer.vocabulary_["cat"] = 10**7
        with pytest.raises(ValueError, match="indices must be"):
            backbone(["cat"])


def with_state(content, state):
    tensors = read_tensors(content)
    return write_tensors({**tensors, "state": np.frombuffer(json.dumps(state).encode(), np.uint8)})


class TestTexts:
    def test_as_scikit_learn_s_own(self):
        backbone = fitted("sklearn:TfidfVectorizer", TEXTS)
        theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=4096).fit(TEXTS)
        new = ["the cat sat and sat", "nothing known"]
        np.testing.assert_allclose(backbone(new).numpy(), theirs.transform(new).toarray(), rtol=1e-6)
        assert backbone.facts.embedding_width == len(theirs.vocabulary_)
        assert torch.equal(restored(backbone)(new), backbone(new))

    def test_what_is_said_goes_before_what_is_usual(self):
        backbone = fitted("sklearn:HashingVectorizer(ngram_range=(1, 1), n_features=8)", TEXTS)
        theirs = HashingVectorizer(n_features=8).transform(TEXTS).toarray()
        np.testing.assert_allclose(backbone(TEXTS).numpy(), theirs, rtol=1e-6)

    def test_rare_terms_are_left_out_of_many_texts(self):
        many = [f"word{i} common" for i in range(1000)] + ["twice", "twice"]
        assert fitted("sklearn:CountVectorizer", many).facts.embedding_width == 2
        assert fitted("sklearn:CountVectorizer(min_df=1)", many).facts.embedding_width == 2002

    def test_pairs_stand_side_by_side(self):
        pairs = list(zip(TEXTS, reversed(TEXTS), strict=True))
        backbone = fitted("sklearn:TfidfVectorizer", pairs)
        theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(TEXTS + TEXTS[::-1])
        expected = np.hstack([theirs.transform(side).toarray() for side in (TEXTS, TEXTS[::-1])])
        np.testing.assert_allclose(backbone(pairs).numpy(), expected, rtol=1e-6)
        extractor = build_extractor(backbone, Device("cpu"))
        with pytest.raises(DataError, match=r"^the text: expected a list of two texts, as in training"):
            extractor.load("one", "the text")

    def test_nothing_to_learn_from_is_told(self):
        with pytest.raises(
            RecipeError, match="backbone: TfidfVectorizer can't be fitted on 2 examples: empty"
        ):
            fitted("sklearn:TfidfVectorizer", ["!", "?"])


class TestImages:
    @pytest.fixture
    def pixels(self):
        return list(np.random.default_rng(1).integers(0, 256, (30, 4, 4, 3), dtype=np.uint8))

    def test_pixels_as_they_are(self, pixels):
        values = np.stack(pixels) / 255
        backbone = fitted("sklearn:pixels(size=4)", pixels)
        assert (backbone.preprocessing.crop_size, backbone.facts.embedding_width) == (4, 48)
        np.testing.assert_allclose(backbone(pixels).numpy(), values.reshape(30, 48), rtol=1e-6)
        grey = fitted("sklearn:pixels(size=4, color=False)", pixels)
        np.testing.assert_allclose(grey(pixels).numpy(), values.mean(axis=3).reshape(30, 16), rtol=1e-6)
        assert torch.equal(restored(grey)(pixels), grey(pixels))

    def test_principal_components(self, pixels):
        values = (np.stack(pixels) / 255).reshape(30, 48)
        backbone = fitted("sklearn:pixels(size=4) | PCA(n_components=5)", pixels[:20])
        theirs = PCA(n_components=5).fit(values[:20]).transform(values)
        np.testing.assert_allclose(backbone(pixels).numpy(), theirs, atol=1e-4)
        assert torch.equal(restored(backbone)(pixels), backbone(pixels))

    def test_an_extractor_decodes_them(self, tmp_path, pixels):
        Image.fromarray(pixels[0]).save(tmp_path / "a.png")
        extractor = build_extractor(fitted("sklearn:pixels(size=4)", pixels), Device("cpu"))
        path = str(tmp_path / "a.png")
        broken = str(tmp_path / "b.png")
        ((first, second),) = extractor.embed_all(
            [lambda: extractor.load(path), lambda: extractor.load(broken)]
        )
        np.testing.assert_allclose(first[1], pixels[0].ravel() / 255, rtol=1e-6)
        assert isinstance(second[1], DataError)


ROWS = [(3, "a", None), (None, "b", 2.5), (5, "a", 1.0), (4, None, 0.0), (9, "b", 4), (1, "z", 3)]


class TestTables:
    def test_as_scikit_learn_s_own(self):
        backbone = fitted("sklearn:ColumnTransformer", ROWS, ("age", "city", "size"))
        numbers = np.array([[r[0] or np.nan, np.nan if r[2] is None else r[2]] for r in ROWS], dtype=float)
        scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit_transform(numbers)
        cities = np.array([[row[1] or ""] for row in ROWS])
        onehot = OneHotEncoder(min_frequency=2, handle_unknown="infrequent_if_exist", sparse_output=False)
        expected = np.hstack([scaled, onehot.fit_transform(cities)])
        loaded = [backbone.blocks[0].reader.read(row) for row in ROWS]
        np.testing.assert_allclose(backbone(loaded).numpy(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(restored(backbone)(loaded), backbone(loaded))
        unseen = backbone([backbone.blocks[0].reader.read((3, "elsewhere", 1))])[0, 2:]
        assert unseen.tolist() == [0, 0, 1]

    def test_numbers_are_imputed_before_any_other_transformer(self):
        rows = [(1.0, 10), (3.0, None), (None, 30)]
        loaded = [(1.0, 10.0), (3.0, np.nan), (np.nan, 30.0)]
        expected = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit_transform(loaded)
        ours = fitted("sklearn:StandardScaler", rows, ("a", "b"))(loaded).numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-6)
        mean = fitted("sklearn:SimpleImputer(strategy='constant', fill_value=-1)", rows, ("a", "b"))(loaded)
        assert mean.tolist() == [[1, 10], [3, -1], [-1, 30]]

    def test_texts_among_numbers_are_told(self):
        with pytest.raises(
            DataError, match='takes numbers, but these columns hold texts: "city"; leave them'
        ):
            fitted("sklearn:StandardScaler", ROWS, ("age", "city", "size"))

    def test_which_columns_hold_numbers(self):
        rows = [
            (Cell("3"), "3", Cell("NA"), Cell("01234"), True, 1, Cell("1_000"), None),
            (Cell("-2.5e3"), "4", Cell("7"), Cell("71234"), False, 2.5, Cell("5"), None),
        ]
        kinds = dict(zip("abcdefgh", columns_of(rows, "abcdefgh").numeric, strict=True))
        assert [name for name, numeric in kinds.items() if numeric] == ["a", "c", "f", "h"]

    def test_cells_are_read_the_same_from_every_source(self):
        columns = columns_of([(1, "x"), (2, "y")], ("age", "city"))
        assert columns.read((Cell("3"), Cell("true"))) == columns.read((3, True)) == (3.0, "true")
        assert columns.read(("3", 7.0)) == columns.read((3.0, Cell("7"))) == (3.0, "7")
        age, city = columns.read((Cell("n/a"), None))
        assert np.isnan(age)
        assert city == ""

    def test_text_where_numbers_were(self):
        columns = columns_of([(1, "x")], ("age", "city"))
        with pytest.raises(DataError, match=r'^the row: age is "old", but held numbers in training'):
            columns.read(("old", "x"), "the row")
        with pytest.raises(DataError, match=r'^the row {age: old, city: x}: age is "old"'):
            columns.read(("old", "x"))

    @pytest.mark.parametrize(
        ("cells", "complaint"),
        [
            ([None] * 30, "is empty in every training row: it has no information"),
            ([5] * 30, "is the same in every training row: it has no information"),
            (["x"] * 30, "is the same in every training row: it has no information"),
            (
                range(100, 130),
                "seems to number the rows: it does not generalize to other rows. Fix: leave it out",
            ),
            ([f"name {i}" for i in range(30)], "has 30 different texts in 30 rows, as an id has"),
            ([f"2024-01-{i + 1:02d}T00:00:00" for i in range(30)], 'holds dates ("2024-01-01T00:00:00")'),
            ([f"{i},5 €" for i in range(30)], 'holds numbers written as text ("0,5 €")'),
            (
                [f"kind {i % 12}" for i in range(60)],
                "has 12 different texts: all but the 9 most frequent become",
            ),
            ([i % 7 for i in range(30)], None),
            (["a", "b", None] * 10, None),
            ([1, None] * 15, None),
        ],
    )
    def test_columns_that_need_a_word(self, cells, complaint):
        rows = [(cell,) for cell in cells]
        told = list(complaints(rows, columns_of(rows, ("c",)), most_categories=10))
        assert [message.startswith(f'the column "c" {complaint}') for message in told] == [True] * bool(
            complaint
        )

    def test_many_categories_keep_the_width_bounded(self):
        rows = [(f"city {i // 2}",) for i in range(1000)]
        told = []
        backbone = fitted("sklearn:ColumnTransformer", rows, ("city",), warn=told.append)
        assert backbone.facts.embedding_width == 256
        assert told == [
            'the column "city" has 500 different texts: all but the 255 most frequent become one category'
        ]


def test_the_seed_decides_what_is_drawn():
    name = "sklearn:GaussianRandomProjection(n_components=3)"
    pixels = list(np.random.default_rng(1).integers(0, 256, (30, 4, 4, 3), dtype=np.uint8))
    drawn = [fitted(name, pixels, seed=seed)(pixels) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])


def test_a_transformer_that_can_t_be_fitted_says_why():
    with pytest.raises(
        RecipeError, match=r"^backbone: PCA can't be fitted on 6 examples: n_components=99 must"
    ):
        fitted("sklearn:ColumnTransformer | PCA(n_components=99)", ROWS, ("a", "b", "c"))
    with pytest.raises(
        RecipeError, match=r"^backbone: PCA can't be fitted on 6 examples: The 'n_components'"
    ):
        fitted("sklearn:ColumnTransformer | PCA(n_components='x')", ROWS, ("a", "b", "c"))


def test_another_version_of_scikit_learn_warns(monkeypatch):
    backbone = fitted("sklearn:TfidfVectorizer", TEXTS)
    monkeypatch.setattr("sklearn.__version__", "9.9")
    with pytest.warns(UserWarning, match="was fitted by scikit-learn .* and is used by 9.9"):
        restored(backbone)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored(backbone)


def test_a_saved_model_that_lacks_it_is_told():
    backbone = fitted("sklearn:TfidfVectorizer", TEXTS)
    with pytest.raises(
        ModelFileError,
        match=r"saved model lacks the file scikit_learn\.safetensors of sklearn:Tfidf",
    ):
        backbones.restore(backbone.facts, {}, None, "")
    tensors = backbone.state_dict()
    (name,) = tensors
    damaged = torch.frombuffer(bytearray(to_bytes({"version": "1", "reader": {"x": 1}})), dtype=torch.uint8)
    with pytest.raises(ModelFileError, match="damaged"):
        backbones.restore(backbone.facts, {name: damaged}, None, "")
