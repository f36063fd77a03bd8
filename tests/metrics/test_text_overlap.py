"""Metrics of texts are those of sacrebleu, and ROUGE follows its definition."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
import sacrebleu

from transfer_core.metrics.baseline_warnings import baseline_warnings
from transfer_core.metrics.rouge import rouge
from transfer_core.metrics.text_overlap import text_metrics, translation_metrics

WORDS = ["the", "a", "cat", "dog", "house", "on", "in", "is", "was", "red", "blue", "train", "late"]


def corpus(count=60, seed=0):
    draw = random.Random(seed)
    truth = [" ".join(draw.choices(WORDS, k=draw.randint(1, 12))) for _ in range(count)]
    found = [" ".join(w if draw.random() < 0.7 else draw.choice(WORDS) for w in t.split()) for t in truth]
    sources = [" ".join(reversed(text.split())) for text in truth]
    return found, truth, sources


def test_scores_are_those_of_sacrebleu():
    found, truth, sources = corpus()
    metrics = translation_metrics(found, truth, sources, sources[::-1], 3)
    assert metrics["bleu"] == pytest.approx(sacrebleu.corpus_bleu(found, [truth]).score)
    assert metrics["chrf2"] == pytest.approx(sacrebleu.corpus_chrf(found, [truth]).score)
    assert metrics["baseline"]["chrf2"] == pytest.approx(sacrebleu.corpus_chrf(sources, [truth]).score)
    assert metrics["untuned"]["bleu"] == pytest.approx(sacrebleu.corpus_bleu(sources[::-1], [truth]).score)
    assert "tok:13a" in metrics["signatures"]["bleu"]
    assert "bs:1000" in metrics["signatures"]["chrf2"]
    low, high = metrics["intervals"]["chrf2"]
    assert low < metrics["chrf2"] < high
    theirs = sacrebleu.metrics.chrf.CHRF().corpus_score(found, [truth], n_bootstrap=1000)
    assert (low + high) / 2 == pytest.approx(theirs._mean, abs=0.5)
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=0.15)


def test_scores_of_zero_have_an_interval():
    metrics = translation_metrics(["b", "xyz"], ["b", "abc"], ["b", "c"], None, 0)
    assert metrics["intervals"]["chrf2"] == [0.0, 100.0]


def test_the_worst_predictions_come_first():
    found, truth, sources = corpus()
    found[7] = "zzz"
    worst = translation_metrics(found, truth, sources, None, 0)["worst"]
    assert worst[0]["prediction"] == "zzz"
    assert worst[0]["target"] == truth[7]
    assert [row["chrf2"] for row in worst] == sorted(row["chrf2"] for row in worst)


def subsequences(words):
    return {tuple(some) for n in range(len(words) + 1) for some in combinations(words, n)}


def test_rouge_by_its_definition():
    found, truth, _ = corpus(80, seed=3)
    for row, one, other in zip(rouge(found, truth), found, truth, strict=True):
        mine, theirs = one.split(), other.split()
        common = max(map(len, subsequences(mine) & subsequences(theirs)))
        expected = [2 * common / (len(mine) + len(theirs))]
        for size in (1, 2):
            grams = [[tuple(w[i : i + size]) for i in range(len(w) - size + 1)] for w in (mine, theirs)]
            shared = sum(min(grams[0].count(gram), grams[1].count(gram)) for gram in set(grams[0]))
            total = len(grams[0]) + len(grams[1])
            expected.append(2 * shared / total if total else 0.0)
        assert row.tolist() == pytest.approx(expected)


def test_rouge_compares_words_without_case_and_punctuation():
    assert rouge(["The Cat, sat."], ["the cat SAT"]).tolist() == [[1.0, 1.0, 1.0]]
    assert rouge(["Größe"], ["größe!"]).tolist()[0][0] == 1.0


def test_text_metrics():
    found, truth, sources = corpus()
    found[0] = truth[0]
    metrics = text_metrics(found, truth, sources, None, seed=0)
    exact = sum(a == b for a, b in zip(found, truth, strict=True)) / len(truth)
    assert metrics["exact_match"] == pytest.approx(exact)
    assert metrics["rouge_l"] == pytest.approx(rouge(found, truth)[:, 0].mean())
    low, high = metrics["intervals"]["rouge_l"]
    assert low < metrics["rouge_l"] < high
    assert "untuned" not in metrics


def test_no_gain_over_the_untuned_model_is_a_warning():
    found, truth, sources = corpus()
    metrics = translation_metrics(found, truth, sources, found, 0)
    (message,) = baseline_warnings(metrics)
    assert message.startswith("no better than the untuned model: chrf2")


def test_placeholders_kept_by_the_outputs_and_by_the_untuned_model():
    sources = ["%s files", "hello", "<b>{name}</b>", "100 % done"]
    outputs = ["%s ficheiros", "olá", "<b>{nome}</b>", "100 % feito"]
    found = translation_metrics(outputs, outputs, sources, ["%s", "", "<b>{name}</b>", ""], 0)
    assert found["placeholders"] == {"examples": 2, "kept": 0.5, "untuned": 1.0}
    assert "placeholders" not in translation_metrics(["a", "b"], ["a", "b"], ["a", "b"], None, 0)
