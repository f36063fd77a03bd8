"""Label sets are split in equal shares, whatever the labels have to do with each other."""

import hashlib
import random

import numpy as np
import pytest

from transfer_core.data.split import split_rows
from transfer_core.data.stratify import hold_out_labels
from transfer_core.recipe.schema import SplitSizes


def digests(count):
    return [hashlib.sha256(str(i).encode()).hexdigest() for i in range(count)]


def drawn(n, shares, seed=0):
    """Labels that come together: each is likelier where the one before it is."""
    rng = np.random.default_rng(seed)
    columns = [rng.random(n) < shares[0]]
    for share in shares[1:]:
        columns.append(rng.random(n) < np.where(columns[-1], min(1, 2 * share), 0.7 * share))
    return np.stack(columns, axis=1)


def held_out(members, share=0.2, at_least=1, seed=0, images=None):
    n = len(members)
    return hold_out_labels(range(n), share, at_least, members, images or digests(n), seed)


def off(members, held, share):
    """How far the held-out share of each label is from `share`, in rows."""
    return np.abs(members[held].sum(axis=0) - share * members.sum(axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_each_label_keeps_its_share(seed):
    members = drawn(400, [0.5, 0.3, 0.2, 0.1, 0.05, 0.02], seed)
    held = held_out(members, seed=seed)
    assert abs(len(held) - 80) <= 2
    assert off(members, held, 0.2).max() <= 2
    assert off(~members, held, 0.2).max() <= 3


def test_it_is_far_better_than_chance():
    """As in the paper, table 3: the label distribution of a random split is further off."""
    rng = np.random.default_rng(0)
    ours, chance = [], []
    for seed in range(10):
        members = drawn(150, [0.4, 0.2, 0.1, 0.05, 0.05], seed)
        held = held_out(members, seed=seed)
        ours.append(off(members, held, 0.2).mean())
        chance.append(off(members, rng.choice(150, len(held), replace=False), 0.2).mean())
    assert np.mean(ours) < np.mean(chance) / 2


def test_it_depends_on_images_labels_and_seed_alone():
    members, images = drawn(100, [0.4, 0.2, 0.1]), digests(100)
    shuffled = list(range(100))
    random.Random(1).shuffle(shuffled)
    first = held_out(members, images=images)
    again = held_out(members[shuffled], images=[images[i] for i in shuffled])
    assert sorted(shuffled[row] for row in again) == first
    assert held_out(members, seed=1) != first


@pytest.mark.parametrize("seed", range(20))
def test_every_label_is_trained_and_measured_with_and_without(seed):
    rng = np.random.default_rng(seed)
    members = drawn(60, [0.4, 0.2], seed)
    rare = np.zeros((60, 2), bool)
    rare[rng.choice(60, 2, replace=False), 0] = True  # two have it
    rare[:, 1] = True
    rare[rng.choice(60, 2, replace=False), 1] = False  # two lack it
    members = np.hstack([members, rare])
    held = held_out(members, seed=seed)
    kept = sorted(set(range(60)) - set(held))
    for part in (held, kept):
        assert members[part].any(axis=0).all()
        assert not members[part].all(axis=0).any()


@pytest.mark.parametrize("seed", range(20))
def test_training_keeps_the_last_of_each_label(seed):
    """Many labels on few examples: more wishes than can be fulfilled."""
    members = np.random.default_rng(seed).random((8, 12)) < 0.3
    for share, at_least in ((0.2, 1), (0.15, 0), (0.9, 1)):
        held = held_out(members, share, at_least, seed)
        kept = sorted(set(range(8)) - set(held))
        assert (members[kept].any(axis=0) == members.any(axis=0)).all()
        assert (members[kept].all(axis=0) == members.all(axis=0)).all()


@pytest.mark.parametrize("seed", range(10))
def test_copies_stay_together(seed):
    rng = np.random.default_rng(seed)
    images = [digests(30)[i] for i in rng.integers(0, 30, 80)]
    kinds = drawn(30, [0.4, 0.2], seed)
    members = np.array([kinds[digests(30).index(image)] for image in images])
    held = held_out(members, seed=seed, images=images)
    assert not {images[row] for row in held} & {images[row] for row in set(range(80)) - set(held)}
    assert 8 <= len(held) <= 24


def test_something_is_held_out_of_a_few():
    members = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]], bool)
    assert len(held_out(members, 0.15, 0)) == 1
    assert held_out(members, 0.0) == []
    assert held_out(members[:1]) == []
    assert held_out(np.array([[1, 0], [0, 1]], bool)) == []  # each is the last of a label


def test_the_split_holds_out_by_labels():
    members = drawn(200, [0.5, 0.2, 0.1])
    parts = split_rows([None] * 200, members, digests(200), SplitSizes(), 0)
    assert sorted(parts.train + parts.valid + parts.test) == list(range(200))
    assert (len(parts.test), len(parts.valid)) == (pytest.approx(40, abs=2), pytest.approx(24, abs=2))
    assert off(members, parts.test, 0.2).max() <= 2
    given = ["train"] * 150 + ["test"] * 50
    parts = split_rows(given, members, digests(200), SplitSizes(), 0)
    assert parts.test == list(range(150, 200))
    assert off(members[:150], parts.valid, 0.15).max() <= 2
