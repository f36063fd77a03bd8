"""Texts to embeddings: each by itself, whatever else is asked for, and as the network alone would give it."""

from functools import partial

import numpy as np
import pytest
import torch

from bounded import run_bounded
from tiny_encoder import POSITIONS, WORDS, tiny_encoder
from transfer_core.backbones import load
from transfer_core.data import Dataset
from transfer_core.features import FeatureStore, Views, build_extractor, embed_dataset
from transfer_core.features.text import padded_length
from transfer_core.features.tokens import Reader, padded
from transfer_core.recipe.schema import TextOptions
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import DataError, ModelFileError, RecipeError
from transfer_core.runtime.progress import Progress

pytestmark = pytest.mark.extras

CPU = Device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def tiny(folder):
    return load(tiny_encoder(folder, layer_norm_eps=1e-5))


@pytest.fixture(scope="module")
def minilm():
    return load("hf/sentence-transformers/all-MiniLM-L6-v2")


def some_texts(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 30, (count,), generator=generator).tolist()
    words = torch.randint(len(WORDS), (sum(lengths),), generator=generator).tolist()
    return [" ".join(WORDS[words.pop()] for _ in range(length)) for length in lengths]


def embedded(extractor, texts, few=False):
    rows = np.empty((len(texts), extractor.width), np.float32)
    for batch in extractor.embed_all([partial(extractor.load, text) for text in texts], few):
        for number, outcome in batch:
            rows[number] = outcome
    return rows


def alone(backbone, extractor, text):
    """What the network gives for one text without padding."""
    (tokens,) = next(extractor.reader.windows([text]))
    with torch.no_grad():
        return backbone(torch.from_numpy(tokens[None]))[0].numpy()


def test_an_embedding_is_what_the_network_gives_for_the_text_alone(tiny):
    extractor = build_extractor(tiny, CPU, "float32")
    texts = [*some_texts(60), ("good train", "bad plane !"), "ünbekannt 汉字"]
    expected = np.stack([alone(tiny, extractor, text) for text in texts])
    np.testing.assert_allclose(embedded(extractor, texts), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_to_the_last_bit_it_does_not_depend_on_what_else_is_asked_for(minilm, precision):
    extractor = build_extractor(minilm, CPU, precision)
    texts = some_texts(24)
    whole = embedded(extractor, texts)
    assert np.array_equal(embedded(extractor, texts[::-1])[::-1], whole)
    assert np.array_equal(embedded(extractor, texts[7:9]), whole[7:9])
    np.testing.assert_allclose(embedded(extractor, texts[7:9], few=True), whole[7:9], atol=4e-3, rtol=0)


def test_batches_of_one_length_have_the_same_size_however_many_texts_there_are(tiny, monkeypatch):
    extractor = build_extractor(tiny, CPU, "float32")
    shapes = set()
    run = extractor.engine.run
    monkeypatch.setattr(
        extractor.engine, "run", lambda tokens, few: shapes.add(tokens.shape) or run(tokens, few)
    )
    for count in (1, 7, 40):
        embedded(extractor, some_texts(count))
    assert {(extractor.choice.batch // length, length, 2) for _, length, _ in shapes} == shapes
    assert len(shapes) > 2


def test_rounding_keeps_the_direction_of_minilm_s_embeddings(minilm):
    texts = ["@united thank you for nothing!!", "Great flight :)", "no", *some_texts(5)]
    exact = embedded(build_extractor(minilm, CPU, "float32"), texts)
    fast = build_extractor(minilm, CPU, "auto")
    assert (embedded(fast, texts) * exact).sum(axis=1).min() >= 0.999


def test_what_is_asked_for_reads_as_the_publisher_or_the_recipe_says(tiny):
    assert Reader(tiny, TextOptions()).max_length == POSITIONS
    reader = Reader(tiny, TextOptions(max_length=6))
    (cut,) = next(reader.windows(["good bad fine awful train plane late"]))
    assert cut.tolist() == [[2, 0], [5, 0], [6, 0], [7, 0], [8, 0], [3, 0]]
    (pair,) = next(Reader(tiny, TextOptions()).windows([("Good", "BAD fine")]))
    assert pair.tolist() == [[2, 0], [5, 0], [3, 0], [6, 1], [7, 1], [3, 1]]


def test_the_embedding_of_a_long_text_is_the_mean_of_its_windows(tiny):
    options = TextOptions(max_length=6, long="window")
    extractor = build_extractor(tiny, CPU, "float32", options)
    texts = ["good bad fine awful train plane late early the", "good"]
    windows = ["good bad fine awful", "train plane late early", "the"]
    expected = np.mean([alone(tiny, extractor, window) for window in windows], axis=0)
    found = embedded(extractor, texts)
    np.testing.assert_allclose(found[0], expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(found[1], alone(tiny, extractor, "good"), atol=1e-6, rtol=0)
    cut = embedded(build_extractor(tiny, CPU, "float32", TextOptions(max_length=6)), texts)
    np.testing.assert_allclose(cut[0], alone(tiny, extractor, "good bad fine awful"), atol=1e-6, rtol=0)
    with pytest.raises(DataError, match="a pair of texts is longer than 6 tokens, and has no windows"):
        embedded(extractor, [("good bad fine", "awful train plane")])


def test_whatever_changes_embeddings_changes_where_they_are_kept(tiny, tmp_path):
    other = load(tiny_encoder(tmp_path / "other", seed=1))
    (tmp_path / "other/modules.json").write_text(
        '[{"path": "", "type": "x.Transformer"}, {"path": "2", "type": "x.Normalize"}]'
    )
    extractors = [
        build_extractor(tiny, CPU, "float32"),
        build_extractor(tiny, CPU, "float32", TextOptions(max_length=8)),
        build_extractor(tiny, CPU, "float32", TextOptions(long="window")),
        build_extractor(other, CPU, "float32"),
        build_extractor(load(f"hf/{tmp_path / 'other'}"), CPU, "float32"),
    ]
    assert len({extractor.fingerprint for extractor in extractors}) == len(extractors)
    same = TextOptions(max_length=POSITIONS)
    assert build_extractor(tiny, CPU, "float32", same).fingerprint == extractors[0].fingerprint


def test_what_is_known_is_not_computed_again(tiny):
    texts = tuple(some_texts(5))
    dataset = Dataset(texts, tuple(f"{i:064x}" for i in range(5)), torch.zeros(5).numpy())
    first = build_extractor(tiny, CPU, "float32")
    found = embed_dataset(dataset, [1] * 5, Views(), first, FeatureStore(), Progress())
    second = build_extractor(tiny, CPU, "float32")
    again = embed_dataset(dataset, [1] * 5, Views(), second, FeatureStore(), Progress())
    assert np.array_equal(again.embeddings, found.embeddings)
    assert "engine" in vars(first)
    assert "engine" not in vars(second)


def test_an_error_of_one_text_is_told_beside_the_others(tiny):
    extractor = build_extractor(tiny, CPU, "float32")

    def broken():
        raise DataError("no")

    loads = [partial(extractor.load, "good"), broken, partial(extractor.load, "bad")]
    found = dict(pair for batch in extractor.embed_all(loads) for pair in batch)
    assert str(found.pop(1)) == "no"
    assert set(found) == {0, 2}


def test_tokenizers_that_do_not_belong_to_the_weights(folder, tmp_path):
    tiny_encoder(tmp_path / "few", vocab_size=20)
    with pytest.raises(ModelFileError, match=r"knows 24 tokens, but its weights only 20$"):
        next(Reader(load(f"hf/{tmp_path / 'few'}"), TextOptions()).windows(["good"]))
    (tmp_path / "few/tokenizer.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"the tokenizer of hf/.* can't be read: "):
        next(Reader(load(f"hf/{tmp_path / 'few'}"), TextOptions()).windows(["good"]))


def test_too_few_tokens_for_a_pair(tiny):
    with pytest.raises(RecipeError, match=r"^text.max_length: hf/.* needs 4 tokens or more \(got 3\)$"):
        next(Reader(tiny, TextOptions(max_length=3)).windows(["good"]))


def test_lengths_are_few_and_little_longer_than_needed():
    lengths = [padded_length(length) for length in range(1, 513)]
    assert all(length <= chosen < length + max(8, length / 4) for length, chosen in enumerate(lengths, 1))
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 20


def test_padding():
    tokens = [np.array([[4, 0], [5, 1]], np.int32), np.array([[6, 0]], np.int32)]
    assert padded(tokens, 3).tolist() == [[[4, 0], [5, 1], [-1, -1]], [[6, 0], [-1, -1], [-1, -1]]]
    assert padded([np.ones((1, 2), np.float32)], 2).tolist() == [[[1, 1], [0, 0]]]
    beyond_half = padded([np.ones((1, 2), np.float16), np.full((2, 2), 1e6, np.float32)], 2)
    assert (beyond_half.dtype, beyond_half[1, 1, 1]) == (np.float32, 1e6)


def test_long_texts_are_tokenized_a_few_at_a_time(folder):
    """12 of a megabyte each, which would take 1 GB in the tokenizer's form."""
    code = """
reader = Reader(load(sys.argv[1]), TextOptions())
text = ("good bad fine awful a . " * 41_667)[:1_000_000]
print(*{tuple(len(window) for window in windows) for windows in reader.windows([text] * 12)})
"""
    imports = """
from transfer_core.backbones import load
from transfer_core.features.tokens import Reader
from transfer_core.recipe.schema import TextOptions
import tokenizers, torch
torch.zeros(1).sum()
"""
    said = run_bounded(code, tiny_encoder(folder / "long"), imports=imports, memory=750 * 10**6, cpu_s=30)
    assert said == [f"({POSITIONS},)"]
