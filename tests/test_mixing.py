"""MixUp, CutMix and the style of a target domain, in the training loop and through the public API."""

from hashlib import sha256

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

import transfer_core
from photos import pixels, save
from transfer_core.finetune.mixing import Mixer, soft
from transfer_core.recipe.augmentations import CutMix, MixUp
from transfer_core.runtime.errors import RecipeError
from transfer_core.tasks.criteria import BinaryCrossEntropy, CrossEntropy
from transfer_core.training.losses import loss_of

DIGESTS = tuple(sha256(bytes([i])).hexdigest() for i in range(256))


def mixes(*methods, seed=0, epoch=1):
    mixer = Mixer(methods, DIGESTS, seed)
    return [mixer.mix(number, epoch) for number in range(len(DIGESTS))]


def test_mixes_are_determined_by_example_seed_and_epoch():
    found = mixes(MixUp(), CutMix())
    assert found == mixes(MixUp(), CutMix())
    assert found != mixes(MixUp(), CutMix(), epoch=2)
    assert found != mixes(MixUp(), CutMix(), seed=1)
    assert 90 < sum(mix.rectangle is None for mix in found) < 166
    assert len({mix.other for mix in found}) > 130


def test_shares_of_mixup_are_from_a_beta_distribution():
    shares = [mix.share for mix in mixes(MixUp(alpha=0.4))]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_mixed_pixels_show_both_images_by_their_shares():
    own, other = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8)
    for mix in mixes(MixUp(1.0))[:50]:
        assert np.abs(mix.pixels(own, other) - 200 * (1 - mix.share)).max() <= 0.5
    for mix in mixes(CutMix())[:50]:
        pasted = (mix.pixels(own, other) == 200).all(axis=2)
        assert pasted.mean() == pytest.approx(1 - mix.share, abs=2 * 64 / 64**2)
        rows, columns = np.nonzero(pasted)
        if len(rows):  # a rectangle
            assert pasted.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert not own.any()


@pytest.mark.parametrize("criterion", [CrossEntropy(), BinaryCrossEntropy()], ids=["classes", "labels"])
def test_the_loss_of_mixed_targets_is_the_mixed_loss(criterion):
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(len(DIGESTS), 3, generator=generator)
    classes = torch.randint(3, (len(DIGESTS),), generator=generator)
    given = classes if isinstance(criterion, CrossEntropy) else torch.eye(3, dtype=torch.bool)[classes]
    chunk, mixer = torch.arange(7, 20), Mixer([MixUp(1.0)], DIGESTS, 3)
    targets, weights = mixer.targets(soft(given, 3), torch.ones(len(DIGESTS)), chunk, epoch=2)
    found = loss_of(criterion)(outputs[chunk], targets, weights)
    expected = 0.0
    for number in chunk.tolist():
        mix = mixer.mix(number, 2)
        for share, truth in ((mix.share, given[number]), (1 - mix.share, given[mix.other])):
            of_one = cross_entropy if truth.ndim == 0 else binary_cross_entropy_with_logits
            expected += share * float(of_one(outputs[number], truth if truth.ndim == 0 else truth.float()))
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Two kinds of texture; the target is blue where the source is red."""
    root = tmp_path_factory.mktemp("domains")
    for name, color in (("source", (190, 80, 70)), ("phone", (60, 90, 170)), ("test", (60, 90, 170))):
        for label, noise in (("even", 3), ("rough", 45)):
            for i in range(6):
                folder = root / name / ("" if name == "phone" else label)
                save(folder / f"{label}{i}.png", pixels(color, seed=len(name) * 100 + i, noise=noise))
    return root


def test_style_of_the_target_domain(domains):
    data = {"train": str(domains / "phone"), "test": str(domains / "test")}
    words = {"backbone": "mobilenet_v2", "data": data, "source": str(domains / "source"), "device": "cpu"}
    words["split"] = {"near_duplicates": False}
    model = transfer_core.train(augment=[{"type": "style", "method": "fourier"}], **words)
    assert model.recipe.augment[0].method == "fourier"
    assert set(model.metrics) >= {"accuracy", "source_only"}


def test_augmentations_that_lack_what_they_need_are_refused(domains):
    words = {"backbone": "mobilenet_v2", "data": str(domains / "source")}
    with pytest.raises(RecipeError, match="the style of a target domain needs a source domain"):
        transfer_core.train(augment=["style"], **words)
    with pytest.raises(RecipeError, match="mixup mixes images while blocks train, and all are frozen"):
        transfer_core.train(augment=["flip", "mixup"], **words)
    with pytest.raises(RecipeError, match="mosaic is for detection"):
        transfer_core.train(augment=["mosaic"], **words)
