"""Embeddings of whole datasets: right, each computed once, and kept although the work was stopped."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from photos import pixels, save
from tiny_backbone import WIDTH, tiny_backbone
from transfer_core.cache.digests import stamp_of
from transfer_core.data import Dataset
from transfer_core.features import (
    FeatureStore,
    Views,
    build_extractor,
    embed_dataset,
    load_pixels,
)
from transfer_core.features.engines.choice import Choice
from transfer_core.features.engines.torch_engine import TorchEngine
from transfer_core.features.image_tensors import normalize, to_batch
from transfer_core.recipe.augmentations import Crop, Flip
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import Cancelled, DataError
from transfer_core.runtime.progress import Progress

CPU = Device("cpu")


def extractor_of(backbone, precision="float32"):
    return build_extractor(backbone, CPU, precision)


def with_engine(extractor, engine):
    """The same extractor with another engine than it would open."""
    other = replace(extractor)
    other.__dict__["engine"] = engine
    return other


@pytest.fixture
def backbone():
    return tiny_backbone()


@pytest.fixture
def extractor(backbone):
    return extractor_of(backbone)


def dataset_of(paths):
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    return Dataset(tuple(map(str, paths)), tuple(digests), np.zeros(len(paths), np.int64))


@pytest.fixture
def photos(tmp_path):
    """Forty photos of 20 × 24 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 20, 24, 3), dtype=np.uint8)
    return dataset_of([save(tmp_path / "photos" / f"{i}.png", array) for i, array in enumerate(noise)])


def embed(dataset, extractor, store=None, views=None, **options):
    views = views or Views()
    return embed_dataset(
        dataset, [views.count] * len(dataset), views, extractor, store, Progress(), **options
    )


class Forbidden:
    def prepare(self, few):
        raise AssertionError("an engine that was not needed")


def test_the_embeddings_are_the_backbones(photos, backbone, extractor):
    preprocessing = backbone.preprocessing
    loaded = to_batch([load_pixels(path, preprocessing) for path in photos.inputs])
    with torch.no_grad():
        expected = backbone(normalize(loaded, preprocessing, torch.float32))
    found = embed(photos, extractor)
    np.testing.assert_allclose(found.embeddings, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found.embeddings.dtype == np.float32
    assert found.bad == {}


def test_nothing_to_embed(extractor):
    none = Dataset((), (), np.zeros(0, np.int64))
    assert embed(none, extractor, FeatureStore()).embeddings.shape == (0, WIDTH)


def test_the_second_time_nothing_is_decoded_and_nothing_computed(photos, extractor):
    first = embed(photos, extractor, FeatureStore()).embeddings
    for path in photos.inputs:
        os.remove(path)
    again = embed(photos, with_engine(extractor, Forbidden()), FeatureStore()).embeddings
    assert np.array_equal(first, again)


def test_only_what_is_new_is_computed(photos, extractor):
    embed(photos.take(range(30)), extractor, FeatureStore())
    for path in photos.inputs[:30]:
        os.remove(path)
    found = embed(photos, extractor, FeatureStore()).embeddings
    assert found.shape == (40, WIDTH)


def test_copies_of_broken_images_are_left_out_with_them(photos, extractor):
    expected = embed(photos.take(range(6)), extractor, FeatureStore()).embeddings
    broken(photos, 2)
    some = dataset_of([photos.inputs[row] for row in (0, 2, 1, 2, 4)])
    found = embed(some, extractor, FeatureStore(), on_bad_input="skip")
    assert np.array_equal(found.embeddings, expected[[0, 1, 4]])
    assert list(found.bad) == [photos.inputs[2]]


def test_without_a_store_no_embedding_is_written(photos, extractor, home):
    embed(photos, extractor)
    files = sorted(file.name for file in home.rglob("*") if file.is_file())
    assert [name for name in files if not name.startswith("networks.")] == [
        "measurements.json",
        "measurements.lock",
    ]


def test_copies_are_computed_once(photos, extractor, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(Path(photos.inputs[3]).read_bytes())
    twice = dataset_of([photos.inputs[3], copy, photos.inputs[4], copy])
    copy.unlink()  # the first file of the four stands for the others
    found = embed(twice, extractor).embeddings
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[3])
    assert not np.array_equal(found[0], found[2])


def test_a_changed_file_is_another_photo(photos, extractor):
    store = FeatureStore()
    before = embed(photos.take([0]), extractor, store).embeddings
    save(photos.inputs[0], pixels((1, 2, 3), seed=1))
    after = embed(dataset_of(photos.inputs[:1]), extractor, store).embeddings
    assert not np.array_equal(before, after)


def test_a_file_that_changes_between_its_digest_and_its_decoding_is_told_and_not_stored(photos, extractor):
    some = photos.take(range(3))
    stamps = {path: stamp_of(os.stat(path)) for path in some.inputs}
    some, changed = replace(some, stamps=stamps), Path(some.inputs[1])
    before = changed.read_bytes()
    save(changed, pixels((1, 2, 3), seed=1))
    with pytest.raises(DataError, match=f"^{changed}: it was changed while it was in use$"):
        embed(some, extractor, FeatureStore())
    assert list(embed(some, extractor, FeatureStore(), on_bad_input="skip").bad) == [str(changed)]
    changed.write_bytes(before)
    looked_at_again = dataset_of(some.inputs)
    expected = embed(looked_at_again, extractor).embeddings
    assert np.array_equal(embed(looked_at_again, extractor, FeatureStore()).embeddings, expected)


def test_a_file_that_only_gets_another_name_or_right_is_no_other(photos, extractor, tmp_path):
    some = photos.take(range(3))
    some = replace(some, stamps={path: stamp_of(os.stat(path)) for path in some.inputs})
    os.link(some.inputs[0], tmp_path / "backup.png")
    os.chmod(some.inputs[1], 0o600)
    shutil.copy(some.inputs[2], tmp_path / "copy.png")
    os.replace(tmp_path / "copy.png", some.inputs[2])
    assert embed(some, extractor, FeatureStore()).bad == {}


def test_other_code_and_batches_have_embeddings_of_their_own(backbone, monkeypatch):
    found = {extractor_of(backbone).fingerprint}
    backbone.code = "another release"
    found.add(extractor_of(backbone).fingerprint)
    monkeypatch.setattr("PIL.__version__", "0.1")
    found.add(extractor_of(backbone).fingerprint)
    usual = ("openvino", "1", "float32", 4)
    others = [("torch", "1", "float32", 4), ("openvino", "2", "float32", 4)]
    others += [("openvino", "1", "bfloat16", 4), ("openvino", "1", "float32", 5)]
    for words in (usual, *others):
        monkeypatch.setattr(
            "transfer_core.features.extractor.choose", lambda *_, words=words: Choice(*words, seconds=1.0)
        )
        found.add(extractor_of(backbone).fingerprint)
    assert len(found) == 8


def test_numbers_that_are_not_finite_are_told_and_not_stored(photos, extractor):
    class NotFinite:
        def prepare(self, few):
            pass

        def run(self, batch, few=False):
            embeddings = np.ones((len(batch), WIDTH), np.float32)
            embeddings[(batch == odd).all(axis=(1, 2, 3))] = np.nan
            return embeddings

    some = photos.take(range(6))
    odd = load_pixels(some.inputs[2], extractor.preprocessing)
    broken = with_engine(extractor, NotFinite())
    message = f"{some.inputs[2]}: its embedding has numbers that are not finite"
    with pytest.raises(DataError, match=f"^{message}; "):
        embed(some, broken, FeatureStore())
    assert list(embed(some, broken, FeatureStore(), on_bad_input="skip").bad) == [some.inputs[2]]
    assert np.isfinite(embed(some, extractor, FeatureStore()).embeddings).all()


def test_other_weights_and_precisions_have_embeddings_of_their_own(photos, backbone):
    some = photos.take(range(3))
    extractors = [
        extractor_of(backbone),
        extractor_of(backbone, "bfloat16"),
        extractor_of(tiny_backbone(seed=1)),
    ]
    assert len({extractor.fingerprint for extractor in extractors}) == 3
    alone = [embed(some, extractor).embeddings for extractor in extractors]
    shared = [embed(some, extractor, FeatureStore()).embeddings for extractor in extractors]
    again = [embed(some, extractor, FeatureStore()).embeddings for extractor in extractors]
    for one, stored, found in zip(alone, shared, again, strict=True):
        assert np.array_equal(one, stored)
        assert np.array_equal(one, found)
    assert extractor_of(tiny_backbone()).fingerprint == extractors[0].fingerprint


def test_embeddings_do_not_depend_on_what_else_is_embedded(photos, mobilenet):
    extractor = extractor_of(mobilenet)
    full = embed(photos, extractor).embeddings
    shuffled = np.random.default_rng(0).permutation(40)
    for rows in (shuffled, shuffled[:23], range(17)):
        assert np.array_equal(embed(photos.take(rows), extractor).embeddings, full[list(rows)])
    few = embed(photos.take(range(3)), extractor).embeddings
    np.testing.assert_allclose(few, full[:3], atol=1e-5, rtol=1e-5)


def test_views_stand_together(photos, extractor):
    some, views = photos.take(range(5)), Views((Flip(1.0), Crop()), seed=3)
    found = embed_dataset(some, [4, 1, 4, 4, 1], views, extractor, None, Progress()).embeddings
    assert found.shape == (14, WIDTH)
    plain = embed(some, extractor).embeddings
    np.testing.assert_allclose(found[[0, 4, 5, 9, 13]], plain, rtol=1e-5)
    expected = [views.load(some.inputs[2], some.digests[2], view, extractor) for view in range(4)]
    np.testing.assert_allclose(found[5:9], extractor.run(np.stack(expected)), rtol=1e-5)
    assert len(np.unique(found, axis=0)) == 14


def test_views_are_stored_too(photos, extractor):
    views = Views((Flip(), Crop()), seed=3)
    first = embed(photos, extractor, FeatureStore(), views).embeddings
    other_seed = embed(photos, extractor, FeatureStore(), Views((Flip(), Crop()), seed=4)).embeddings
    for path in photos.inputs:
        os.remove(path)
    again = embed(photos, with_engine(extractor, Forbidden()), FeatureStore(), views).embeddings
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other_seed)


def broken(photos, *numbers):
    for number in numbers:
        path = Path(photos.inputs[number])
        path.write_bytes(path.read_bytes()[:200])
    return dataset_of(photos.inputs)


def test_the_first_broken_image_is_named(photos, extractor):
    with pytest.raises(DataError) as error:
        embed(broken(photos, 35, 21), extractor)
    way_out = "(fix or remove it, or use on_bad_input: :skip)"
    assert str(error.value) == f"{photos.inputs[21]}: the file is truncated {way_out}"
    assert error.value.path == photos.inputs[21]


def test_broken_images_are_left_out(photos, extractor):
    expected = embed(photos, extractor).embeddings
    dataset = broken(photos, 35, 21)
    found = embed(dataset, extractor, on_bad_input="skip")
    assert list(found.bad) == [photos.inputs[21], photos.inputs[35]]
    assert all("the file is truncated" in reason for reason in found.bad.values())
    kept = [row for row in range(40) if row not in (21, 35)]
    assert np.array_equal(found.embeddings, expected[kept])


def test_all_images_are_broken(photos, extractor):
    found = embed(broken(photos, *range(40)), extractor, on_bad_input="skip")
    assert len(found.bad) == 40
    assert found.embeddings.shape == (0, WIDTH)


def stored(dataset, extractor):
    """Which images the store knows, without any further work."""
    into = np.empty((len(dataset), WIDTH), np.float32)
    return FeatureStore().read(extractor.fingerprint, dataset.digests, into)


def test_work_before_an_error_is_kept(photos, extractor):
    dataset = broken(photos, 33)
    with pytest.raises(DataError):
        embed(dataset, extractor, FeatureStore())
    assert stored(dataset, extractor)[:33].all()


def test_work_before_a_cancellation_is_kept(photos, extractor):
    told = []
    progress = Progress(told.append, lambda: len(told) >= 2)
    with pytest.raises(Cancelled):
        embed_dataset(photos, [1] * 40, Views(), extractor, FeatureStore(), progress)
    assert 0 < told[-1]["done"] < 40
    assert stored(photos, extractor)[: told[-1]["done"]].all()


def test_progress_counts_what_is_computed(photos, extractor):
    embed(photos.take(range(10)), extractor, FeatureStore())
    told = []
    embed_dataset(photos, [1] * 40, Views(), extractor, FeatureStore(), Progress(told.append), "evaluate")
    assert told[-1] == {"event": "progress", "step": "evaluate", "done": 30, "total": 30, "unit": "images"}
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)


def test_a_store_that_can_not_be_used_is_no_reason_to_fail(photos, extractor):
    lost = FeatureStore(Path("/dev/null/features.sqlite"))
    assert np.array_equal(embed(photos, extractor, lost).embeddings, embed(photos, extractor).embeddings)


class ThreeAtMost(nn.Module):
    """A GPU too small for more than three images, as torch reports it."""

    def forward(self, images):
        if len(images) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return images.mean(dim=(2, 3))


def test_a_batch_that_does_not_fit_is_embedded_in_halves(photos, backbone):
    pixels = np.stack([load_pixels(path, backbone.preprocessing) for path in photos.inputs[:11]])
    backbone.blocks, backbone.pool = nn.Sequential(ThreeAtMost()), nn.Identity()
    small = TorchEngine(backbone, CPU, "float32")
    mean, std = (np.array(values) for values in (backbone.preprocessing.mean, backbone.preprocessing.std))
    expected = ((pixels / 255 - mean) / std).mean(axis=(1, 2))
    np.testing.assert_allclose(small.run(pixels), expected, atol=1e-5)
