import hashlib
import random

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from transfer_core.data.split import split_rows
from transfer_core.recipe.schema import SplitSizes

SIZES = SplitSizes()


def digests(count, salt=""):
    return [hashlib.sha256(f"{salt}{i}".encode()).hexdigest() for i in range(count)]


def split(strata, images=None, given=None, sizes=SIZES, seed=0):
    return split_rows(given or [None] * len(strata), strata, images or digests(len(strata)), sizes, seed)


@pytest.mark.parametrize("seed", range(5))
def test_shares_per_class_are_those_of_sklearn(seed):
    strata = np.random.default_rng(seed).choice(4, size=503, p=[0.5, 0.3, 0.15, 0.05]).tolist()
    parts = split(strata, seed=seed)
    rest, test = train_test_split(np.arange(503), test_size=0.2, stratify=strata, random_state=0)
    ours = np.bincount(np.array(strata)[parts.test], minlength=4)
    theirs = np.bincount(np.array(strata)[test], minlength=4)
    assert abs(ours - theirs).max() <= 1
    assert len(parts.valid) == round(0.15 * (503 - len(parts.test)))
    assert len(parts.train) + len(parts.valid) == len(parts.test) + len(rest) - len(parts.test)
    assert sorted(parts.train + parts.valid + parts.test) == list(range(503))


def test_the_split_depends_on_images_and_seed_alone():
    images = digests(100)
    strata = [i % 3 for i in range(100)]
    shuffled = list(range(100))
    random.Random(1).shuffle(shuffled)
    first = split(strata, images)
    again = split([strata[i] for i in shuffled], [images[i] for i in shuffled])
    for part in ("train", "valid", "test"):
        assert sorted(shuffled[row] for row in getattr(again, part)) == getattr(first, part)
    assert split(strata, images, seed=1).test != first.test


def test_more_photos_hardly_move_the_others():
    before = set(split([0] * 500, digests(500)).test)
    after = set(split([0] * 505, digests(505)).test)
    assert len(before - after) <= 5


def test_every_class_is_trained_and_measured_however_small():
    strata = [0] * 50 + [1] * 2 + [2] * 3 + [3] * 4
    parts = split(strata)
    for part in (parts.train, parts.test):
        assert {strata[row] for row in part} == {0, 1, 2, 3}


def test_a_class_of_one_image_is_trained():
    strata = [0] * 10 + [1]
    assert 10 in split(strata).train


def test_small_classes_together_fill_valid():
    strata = [i // 4 for i in range(40)]
    parts = split(strata)
    assert len(parts.test) == 10
    assert len(parts.valid) == 5
    assert {strata[row] for row in parts.train} == set(range(10))


@pytest.mark.parametrize("seed", range(20))
def test_copies_stay_together(seed):
    rng = np.random.default_rng(seed)
    images = [digests(30)[i] for i in rng.integers(0, 30, 80)]
    strata = [int(image, 16) % 2 for image in images]
    parts = split(strata, images, seed=seed)
    sides = [{images[row] for row in part} for part in (parts.train, parts.valid, parts.test)]
    assert sum(map(len, sides)) == len(set(images))


@pytest.mark.parametrize("seed", range(20))
def test_copies_with_different_classes_stay_together_too(seed):
    """Texts may be the same and be meant differently."""
    rng = np.random.default_rng(seed)
    images = [digests(30)[i] for i in rng.integers(0, 30, 80)]
    parts = split(rng.integers(0, 3, 80).tolist(), images, seed=seed)
    sides = [{images[row] for row in part} for part in (parts.train, parts.valid, parts.test)]
    assert sum(map(len, sides)) == len(set(images))


def test_many_copies_of_one_image_do_not_swell_the_measured_part():
    images = [*digests(9), *[digests(10)[9]] * 91]
    for seed in range(10):
        assert len(split([0] * 100, images, seed=seed).test) <= 20


def test_two_images_one_of_them_copied():
    images = [*digests(1), *[digests(2)[1]] * 9]
    assert split([0] * 10, images).test == [0]


def test_two_images_both_copied():
    images = [d for d in digests(2) for _ in range(5)]
    assert len(split([0] * 10, images).test) == 5


def test_a_large_share_leaves_something_to_train_on():
    parts = split([0, 0, 1, 1, 1], sizes=SplitSizes(test=0.99, valid=0.99))
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (2, 0, 3)


def test_rows_left_over_go_to_the_largest_remainders():
    strata = [0] * 10 + [1] * 14 + [2] * 11  # a quarter: 2.5, 3.5, 2.75; together 9
    parts = split(strata, sizes=SplitSizes(test=0.25))
    assert np.bincount([strata[row] for row in parts.test]).tolist() == [3, 3, 3]


def test_sizes_of_zero_hold_nothing_out():
    parts = split([0] * 10, sizes=SplitSizes(test=0, valid=0))
    assert (len(parts.train), parts.valid, parts.test) == (10, [], [])


def test_all_three_given_stay_as_given():
    given = ["train"] * 5 + ["valid"] * 3 + ["test"] * 2
    parts = split([0] * 10, given=given)
    assert (parts.train, parts.valid, parts.test) == ([0, 1, 2, 3, 4], [5, 6, 7], [8, 9])
    assert (parts.test_name, parts.copies) == ("test", ())


def test_train_and_valid_measure_on_valid_and_choose_within_train():
    given = ["train"] * 20 + ["valid"] * 5
    parts = split([0] * 25, given=given)
    assert parts.test == [20, 21, 22, 23, 24]
    assert parts.test_name == "valid"
    assert len(parts.valid) == 3
    assert sorted(parts.train + parts.valid) == list(range(20))


def test_train_and_test_choose_within_train():
    parts = split([0] * 25, given=["train"] * 20 + ["test"] * 5)
    assert (len(parts.train), len(parts.valid), parts.test_name) == (17, 3, "test")


def test_train_alone_is_split_as_if_nothing_were_given():
    strata = [i % 2 for i in range(40)]
    assert split(strata, given=["train"] * 40) == split(strata)


def test_copies_of_what_is_held_out_do_not_train():
    images = digests(8)
    images[1] = images[5]  # train = valid
    images[2] = images[7]  # train = test
    images[4] = images[6]  # valid = test
    given = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    parts = split([0] * 8, images, given)
    assert (parts.train, parts.valid, parts.test, parts.copies) == ([0, 3], [5], [6, 7], (1, 2, 4))
