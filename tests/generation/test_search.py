"""Greedy decoding and beam search generate what transformers generates."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch

from tiny_translators import FAMILIES, SENTENCES, write_translator
from transfer_core import backbones
from transfer_core.generation import TextGenerator
from transfer_core.generation.running_batch import top_values
from transfer_core.recipe.schema import Generation, Languages, TextOptions

pytestmark = pytest.mark.extras

LANGUAGES = {"mbart": Languages("en_XX", "de_DE"), "m2m_100": Languages("en", "de")}


def generator(folder, family, **options):
    backbone = backbones.load(f"hf/{folder}")
    languages = LANGUAGES.get(family, Languages())
    return TextGenerator(backbone, TextOptions(), languages, Generation(**options), torch.device("cpu"))


def theirs(model, ours, sources, **options):
    """Sequences of transformers without the start token and padding, a list per source."""
    tokens, mask = ours._padded(sources)
    prefix = ours.rules.prefix
    if prefix:
        options["forced_bos_token_id"] = prefix[0]
    count = options.get("num_beams", 1)
    found = model.generate(
        tokens, attention_mask=mask.long(), num_return_sequences=count, do_sample=False,
        bad_words_ids=[[token] for token in ours.rules.banned] or None, **options,
    )  # fmt: skip
    end, rows = ours.rules.end, []
    for row in found[:, 1:].tolist():
        rows.append(row[: row.index(end) + 1] if end in row else row)
    return [rows[start : start + count] for start in range(0, len(rows), count)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 4])
def test_sequences_are_those_of_transformers(tmp_path, family, beams):
    model = write_translator(tmp_path, family)
    ours = generator(tmp_path, family, beams=beams, max_length=18, length_penalty=1.0)
    sources = ours.sources(SENTENCES)
    wanted = theirs(model, ours, sources, num_beams=beams, max_length=19)
    found = [[list(h.tokens) for h in hypotheses] for hypotheses in ours.generate(sources)]
    assert found == wanted
    if family in ("marian", "mbart"):
        assert len({len(tokens) for (tokens, *_) in found}) > 1


@pytest.mark.parametrize("penalty", [0.0, 2.0, -1.0])
def test_length_penalty_is_that_of_transformers(tmp_path, penalty):
    model = write_translator(tmp_path, "marian", seed=3)
    ours = generator(tmp_path, "marian", beams=3, max_length=20, length_penalty=penalty)
    sources = ours.sources(SENTENCES)
    wanted = theirs(model, ours, sources, num_beams=3, max_length=21, length_penalty=penalty)
    assert [[list(h.tokens) for h in hypotheses] for hypotheses in ours.generate(sources)] == wanted


@pytest.mark.parametrize("beams", [1, 3])
def test_no_repeat_is_that_of_transformers(tmp_path, beams):
    model = write_translator(tmp_path, "bart", seed=2)
    ours = generator(tmp_path, "bart", beams=beams, max_length=20, no_repeat=2)
    sources = ours.sources(SENTENCES)
    wanted = theirs(model, ours, sources, num_beams=beams, max_length=21, no_repeat_ngram_size=2)
    found = [[list(h.tokens) for h in hypotheses] for hypotheses in ours.generate(sources)]
    assert found == wanted
    for tokens, *_ in found:
        pairs = list(pairwise(tokens))
        assert len(pairs) == len(set(pairs))


def test_scores_are_mean_probabilities_of_the_tokens(tmp_path):
    write_translator(tmp_path, "marian")
    ours = generator(tmp_path, "marian", beams=1)
    (source,) = ours.sources(SENTENCES[:1])
    ((found,),) = ours.generate([source])
    network, tokens = ours.network, torch.tensor([source.tolist()])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    inputs = torch.tensor([[ours.rules.start, *found.tokens[:-1]]])
    with torch.no_grad():
        states = network.decode(inputs, network.encode(tokens, mask), mask)
        logs = network.logits(states).log_softmax(2)[0, range(len(found.tokens)), list(found.tokens)]
    assert found.score == pytest.approx(float(logs.mean().exp()), rel=1e-4)


def test_the_order_and_the_batches_of_sources_do_not_matter(tmp_path):
    write_translator(tmp_path, "m2m_100")
    ours = generator(tmp_path, "m2m_100", beams=2, max_length=12)
    texts = [" ".join(random.Random(i).choices(SENTENCES, k=1 + i % 3)) for i in range(70)]
    sources = ours.sources(texts)
    together = ours.generate(sources)
    for number in (0, 13, 69):
        (alone,) = ours.generate([sources[number]])
        assert [h.tokens for h in alone] == [h.tokens for h in together[number]]
    backwards = ours.generate(sources[::-1])[::-1]
    assert [[h.tokens for h in some] for some in backwards] == [[h.tokens for h in some] for some in together]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
def test_texts_that_join_a_running_batch_are_those_generated_alone(tmp_path, family, beams):
    write_translator(tmp_path, family)
    ours = generator(tmp_path, family, beams=beams, max_length=14)
    sources = ours.sources(SENTENCES)
    alone = [ours.generate([source])[0] for source in sources]
    batch, found, sizes = ours.running_batch(), {}, []
    waiting = list(enumerate(sources))
    while waiting or len(batch):
        count = 4 - len(batch) if len(sizes) % 3 == 0 else 0
        joining, waiting = waiting[:count], waiting[count:]
        if joining:
            searches = ours.join(batch, [source for _, source in joining])
            found |= {number: search for (number, _), search in zip(joining, searches, strict=True)}
        sizes.append(len(batch))
        if len(batch):
            ours.step(batch)
    assert max(sizes) == 4
    together = [ours.hypotheses(found[number]) for number in range(len(sources))]
    assert [[h.tokens for h in some] for some in together] == [[h.tokens for h in some] for some in alone]


def test_dropped_texts_leave_the_others_unchanged(tmp_path):
    write_translator(tmp_path, "m2m_100")
    ours = generator(tmp_path, "m2m_100", max_length=12)
    sources = ours.sources(SENTENCES[:3])
    ((alone,),) = ours.generate(sources[1:2])
    batch = ours.running_batch()
    searches = ours.join(batch, sources)
    ours.step(batch)
    batch.drop({searches[0], searches[2]}.__contains__)
    assert len(batch) == 1
    while len(batch):
        ours.step(batch)
    assert ours.hypotheses(searches[1])[0].tokens == alone.tokens


def test_pieces_are_the_text(tmp_path):
    write_translator(tmp_path, "m2m_100", seed=1)
    ours = generator(tmp_path, "m2m_100", max_length=25)
    ((whole,),) = ours.generate(ours.sources(SENTENCES[:1]))
    pieces = list(ours.pieces(ours.sources(SENTENCES[:1])[0]))
    assert "".join(pieces) == ours.text(whole)
    assert len(pieces) > 1


def test_a_long_source_is_cut_before_its_end_token(tmp_path):
    write_translator(tmp_path, "bart")
    ours = generator(tmp_path, "bart")
    (source,) = ours.sources(["the cat " * 100])
    assert len(source) == 64
    assert source[-1] == ours.codec.layout.source_after[0]
    assert source[0] == ours.codec.layout.source_before[0]


@pytest.mark.parametrize(("width", "count"), [(10, 4), (256, 4), (2000, 6), (5119, 16), (5120, 8)])
def test_top_values_are_the_largest(width, count):
    scores = torch.rand(7, width, generator=torch.Generator().manual_seed(width))
    values, places = top_values(scores, count)
    wanted = scores.topk(count, dim=1)
    assert torch.equal(values, wanted.values)
    assert torch.equal(places, wanted.indices)
