"""Reading a labelled source domain beside a target domain whose labels may be missing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from transfer_core.data import MODALITIES, read_splits
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import DataError
from transfer_core.runtime.progress import Progress
from transfer_core.tasks import choose_task


def photo(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folders(tmp_path):
    """`studio/cat|dog`, `phone/*.png` without labels, and labelled `test/cat|dog`."""
    for number in range(8):
        photo(tmp_path / "studio" / ("cat" if number % 2 else "dog") / f"{number}.png", number)
        photo(tmp_path / "phone" / f"{number}.png", 100 + number)
    for number in range(4):
        photo(tmp_path / "test" / ("cat" if number % 2 else "dog") / f"{number}.png", 200 + number)
    return tmp_path


def read(words, modality="image", streams=None):
    recipe = parse_recipe({"backbone": "b", **words})
    spool = None
    warnings = []
    progress = Progress(lambda event: warnings.append(event), lambda: False)
    return read_splits(recipe, MODALITIES[modality], choose_task, streams or {}, spool, progress)


def test_an_unlabelled_target_with_a_labelled_test_part(folders):
    data = {"train": str(folders / "phone"), "test": str(folders / "test")}
    splits = read({"data": data, "source": str(folders / "studio")})
    assert splits.labels == ("cat", "dog")
    assert (len(splits.train) + len(splits.valid), len(splits.test)) == (8, 4)
    assert splits.train.from_source.all()
    assert not splits.test.from_source.any()
    assert len(splits.domains.unlabelled) == 8


def test_an_unlabelled_target_alone_has_no_test_part(folders):
    splits = read({"data": str(folders / "phone"), "source": str(folders / "studio")})
    assert len(splits.test) == 0
    assert len(splits.train) + len(splits.valid) == 8


def test_a_labelled_target_is_divided_and_joins_the_source(folders):
    splits = read({"data": str(folders / "test"), "source": str(folders / "studio")})
    assert len(splits.test) >= 1
    assert splits.train.from_source.sum() + splits.valid.from_source.sum() == 8
    assert (~splits.train.from_source).any()
    assert not splits.test.from_source.any()


def test_unlabelled_inputs_beside_a_labelled_target(folders):
    words = {"data": str(folders / "test"), "source": str(folders / "studio")}
    splits = read({**words, "unlabelled": str(folders / "phone")})
    assert len(splits.domains.unlabelled) == 8


def test_copies_of_test_examples_are_left_out_of_source_and_unlabelled(folders):
    copied = (folders / "test" / "cat" / "1.png").read_bytes()
    (folders / "studio" / "cat" / "copy.png").write_bytes(copied)
    (folders / "phone" / "copy.png").write_bytes(copied)
    data = {"train": str(folders / "phone"), "test": str(folders / "test")}
    splits = read({"data": data, "source": str(folders / "studio")})
    assert len(splits.domains.unlabelled) == 8
    assert splits.train.from_source.sum() + splits.valid.from_source.sum() == 8


def test_rows_of_a_table_without_labels(tmp_path):
    (tmp_path / "source.csv").write_text("x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(10)))
    (tmp_path / "target.csv").write_text("x,label\n" + "".join(f"{i + 20},\n" for i in range(6)))
    splits = read(
        {"data": str(tmp_path / "target.csv"), "source": str(tmp_path / "source.csv")}, modality="table"
    )
    assert len(splits.domains.unlabelled) == 6
    assert splits.columns == ("x",)


def test_a_table_without_a_column_of_labels(tmp_path):
    (tmp_path / "source.csv").write_text("x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(10)))
    (tmp_path / "target.csv").write_text("x\n20\n21\n")
    splits = read(
        {"data": str(tmp_path / "target.csv"), "source": str(tmp_path / "source.csv")}, modality="table"
    )
    assert len(splits.domains.unlabelled) == 2


def test_labels_of_the_source_are_mapped(folders):
    (folders / "studio" / "cat").rename(folders / "studio" / "feline")
    words = {"data": str(folders / "test"), "source": str(folders / "studio")}
    assert read(words | {"map_labels": {"feline": "cat"}}).labels == ("cat", "dog")
    with pytest.raises(DataError, match=r'the source has no label "felin", did you mean "feline"\?'):
        read(words | {"map_labels": {"felin": "cat"}})


def test_domains_without_a_common_label_are_an_error(folders):
    for name in ("cat", "dog"):
        (folders / "studio" / name).rename(folders / "studio" / f"{name} 1")
    with pytest.raises(DataError, match=r"share no class: the source has .*cat 1.* Fix: map_labels"):
        read({"data": str(folders / "test"), "source": str(folders / "studio")})


def test_an_empty_domain_is_an_error(folders):
    (folders / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read({"data": str(folders / "phone"), "source": str(folders / "nothing")})


def test_an_unlabelled_row_of_a_test_part_is_an_error(folders):
    data = {"train": str(folders / "test"), "test": str(folders / "phone")}
    with pytest.raises(DataError, match="is for test, but has no label"):
        read({"data": data, "source": str(folders / "studio")})


def test_without_a_source_labels_are_needed(folders):
    with pytest.raises(DataError, match="no class folders"):
        read({"data": str(folders / "phone")})
