"""From recipe words to datasets, with real files."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from transfer_core.data import Dataset, emit_data_warnings, left_over, read_splits
from transfer_core.data.image import IMAGE
from transfer_core.recipe.parser import parse_recipe
from transfer_core.runtime.errors import Cancelled, DataError
from transfer_core.runtime.progress import Progress
from transfer_core.runtime.temp_dir import spool_folder
from transfer_core.tasks import choose_task
from work import python_calls


def all_rows(splits):
    return {p for part in (splits.train, splits.valid, splits.test) for p in part.inputs}


def parts(splits):
    return len(splits.train), len(splits.valid), len(splits.test)


def failure(call, *arguments, **words):
    with pytest.raises(DataError) as raised:
        call(*arguments, **words)
    return str(raised.value)


@pytest.fixture(autouse=True)
def _in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_class_folder(read, class_folder, warned):
    splits = read(class_folder("photos", cat=30, dog=20))
    assert (splits.task.name, splits.labels, splits.test_name, splits.skipped) == (
        "classification",
        ("cat", "dog"),
        "test",
        (),
    )
    assert parts(splits) == (34, 6, 10)
    for part in (splits.train, splits.valid, splits.test):
        assert [splits.labels[t] for t in part.targets] == [Path(p).parent.name for p in part.inputs]
        assert part.targets.dtype == np.int64
    assert warned == ["only 10 images are measured, each of them is 10 points of accuracy"]


def test_the_same_files_elsewhere_are_split_alike(read, class_folder, names, tmp_path):
    first = read(class_folder("photos", cat=30, dog=20))
    shutil.copytree("photos", "other/place")
    again = read("other/place/")
    assert (names(again.train), names(again.valid), names(again.test)) == (
        names(first.train),
        names(first.valid),
        names(first.test),
    )
    assert again.train.digests == first.train.digests
    assert names(read("photos", seed=1).test) != names(first.test)


def test_a_folder_with_its_own_split(read, class_folder):
    for part, count in (("train", 10), ("val", 4), ("test", 3)):
        class_folder(f"photos/{part}", cat=count, dog=count)
    splits = read("photos")
    assert parts(splits) == (20, 8, 6)
    assert {Path(p).parts[1] for p in splits.valid.inputs} == {"val"}


def test_train_and_valid_by_name(read, class_folder, warned):
    splits = read({"train": class_folder("a", cat=20, dog=20), "valid": class_folder("b", cat=5, dog=5)})
    assert (parts(splits), splits.test_name) == ((34, 6, 10), "valid")


def test_only_train_by_name_is_split(read, class_folder):
    class_folder("a", cat=30, dog=20)
    assert parts(read({"train": "a"})) == parts(read("a"))


def test_sources_of_different_kinds(read, class_folder, photo):
    class_folder("a", cat=20, dog=20)
    photo("set/1.png")
    photo("set/2.png")
    Path("set/test.csv").write_text("path,label\n1.png,cat\n2.png,dog\n")
    assert parts(read({"train": "a", "test": "set/test.csv"})) == (34, 6, 2)


def test_a_source_that_contradicts_its_name(read, class_folder):
    class_folder("photos/train", cat=2, dog=2)
    class_folder("photos/test", cat=2, dog=2)
    class_folder("more", cat=2, dog=2)
    assert failure(read, {"train": "photos", "test": "more"}) == (
        "data.train: photos/test/cat/0.png belongs to the split test; name a source that holds train alone, "
        "or give the whole as data: and let its own split count"
    )


def test_a_manifest_for_regression(read, photo):
    lines = ["path,x,y"]
    for i in range(20):
        photo(f"set/{i}.png")
        lines.append(f"{i}.png,{i},{i / 2}")
    Path("set/labels.csv").write_text("\n".join(lines))
    splits = read("set/labels.csv", columns={"target": ["x", "y"]})
    assert (splits.task.name, splits.labels, parts(splits)) == ("regression", ("x", "y"), (14, 2, 4))
    for path, target in zip(splits.test.inputs, splits.test.targets, strict=True):
        assert target.tolist() == [int(Path(path).stem), int(Path(path).stem) / 2]


def test_a_stream_of_bytes(read, photo, tmp_path):
    images = [Path(photo(f"{i}.png")).read_bytes() for i in range(20)]
    rows = ({"input": image, "label": i % 2} for i, image in enumerate(images))
    splits = read({"stream": "s1"}, streams={"s1": rows})
    assert splits.labels == ("0", "1")
    assert all(Path(p).is_relative_to(tmp_path / "spool") for p in all_rows(splits))
    assert {Path(p).read_bytes() for p in all_rows(splits)} == set(images)


def test_cancel_while_rows_come_in(tmp_path):
    from transfer_core.data import read_splits

    seen = []

    def rows():
        for i in range(100):
            seen.append(i)
            yield {"input": b"x", "label": i}

    recipe = parse_recipe({"data": {"stream": "s"}, "backbone": "x"})
    with pytest.raises(Cancelled):
        read_splits(
            recipe, IMAGE, choose_task, {"s": rows()}, tmp_path, Progress(cancelled=lambda: len(seen) > 3)
        )
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("foto", 'foto does not exist, did you mean "photo"?'),
        ("phot/train", 'phot/train does not exist, did you mean "photo"?'),
        ("nothing-like-it", "nothing-like-it does not exist"),
        ("photo/1.png", "photo/1.png is one image, expected a folder of class folders or a manifest"),
        ("photos.zip", "photos.zip is an archive. Fix: unpack it and name the folder"),
        ("empty.csv", "empty.csv has no rows"),
        ("", "the path of the data is empty, expected a folder or a manifest"),
    ],
)
def test_paths_that_are_no_source(read, photo, path, message):
    photo("photo/1.png")
    Path("photos.zip").touch()
    Path("empty.csv").write_text("path,label\n")
    assert failure(read, path) == message


def test_streams_that_are_no_source(read):
    assert failure(read, {"stream": "s"}) == 'no stream is called "s"'
    assert failure(read, {"stream": "s"}, streams={"s": []}) == (
        "the data has no rows, expected {input:, label:} for each image"
    )


def test_bad_files_raise_and_are_named(read, class_folder):
    class_folder("photos", cat=5, dog=5)
    Path("photos/cat/7.jpg").write_text("not an image")
    assert failure(read, "photos") == (
        "photos/cat/7.jpg: it is not an image, it holds text (expected JPEG, PNG, WebP, GIF, BMP or TIFF) "
        "(fix or remove it, or use on_bad_input: :skip)"
    )
    Path("photos/dog/8.jpg").touch()
    assert "2 images can't be used: photos/cat/7.jpg: it is not an image" in failure(read, "photos")


def test_what_is_left_without_undecodable_files_is_audited_again(read, class_folder, warned, progress):
    splits = read(class_folder("photos", cat=30, dog=30))
    assert warned == ["only 12 images are measured, each of them is 8 points of accuracy"]
    recipe = parse_recipe({"data": "photos", "backbone": "mobilenet_v2"})
    dogs = {path: "truncated" for path in splits.test.inputs if "/dog/" in path}
    left = left_over(splits, dogs)
    assert len(left.test) == 6
    assert len(left.pool.data) == 54
    emit_data_warnings(left, recipe, progress)
    assert warned[1:] == [
        'test has no image of "dog"; the metrics do not cover it',
        "only 6 images are measured, each of them is 17 points of accuracy",
    ]


def test_values_that_are_left_without_undecodable_files_must_vary(read, photo):
    rows = [{"input": photo(f"{i}.png"), "label": float(i % 2)} for i in range(40)]
    words = {"data": {"stream": "s"}, "task": "regression"}
    splits = read(streams={"s": rows}, **words)
    ones = {
        path: "truncated"
        for path, target in zip(splits.train.inputs, splits.train.targets, strict=True)
        if target == 1
    }
    with pytest.raises(DataError, match=r"^every training target is 0; nothing to learn$"):
        left_over(splits, ones)


def test_bad_files_are_skipped_on_request(read, class_folder, warned):
    class_folder("photos", cat=5, dog=5)
    Path("photos/cat/a\n.jpg").touch()
    splits = read("photos", on_bad_input="skip")
    assert sum(parts(splits)) == 10
    assert splits.skipped == ("photos/cat/a\\n.jpg: the file is empty",)
    assert warned[0] == ("left out 1 image that can't be used: photos/cat/a\\n.jpg: the file is empty")


def test_names_that_are_not_utf8(read, class_folder):
    class_folder("photos", cat=5, dog=5)
    Path("photos/cat/caf\udce9.png").write_bytes(Path("photos/cat/0.png").read_bytes())
    assert failure(read, "photos") == (
        "photos/cat/caf\\udce9.png: its name is not valid UTF-8, rename it "
        "(fix or remove it, or use on_bad_input: :skip)"
    )
    assert len(read("photos", on_bad_input="skip").skipped) == 1


def test_a_class_that_only_has_bad_files(read, class_folder):
    class_folder("photos", cat=5, dog=5)
    Path("photos/cow").mkdir()
    Path("photos/cow/1.jpg").touch()
    assert failure(read, "photos", on_bad_input="skip") == (
        'none of the 1 images of the class "cow" can be used (replace them, or remove the class)'
    )


def test_nothing_usable(read, photo):
    rows = [{"input": "a.jpg", "label": 1}, {"input": "b.jpg", "label": 2}]
    assert failure(read, {"stream": "s"}, streams={"s": rows}, on_bad_input="skip") == (
        "none of the 2 images can be used: row 1 (a.jpg): no such file"
    )


def test_a_missing_file_is_named_with_its_line(read, photo):
    photo("set/1.png")
    Path("set/labels.csv").write_text("path,label\n1.png,cat\n\n2.png,dog\n")
    assert failure(read, "set/labels.csv") == (
        "set/labels.csv line 4 (set/2.png): no such file (fix or remove it, or use on_bad_input: :skip)"
    )


def test_one_image_with_two_labels(read, class_folder, photo):
    class_folder("photos", cat=5, dog=5)
    photo("photos/cat/9.png", like="photos/dog/3.png")
    assert failure(read, "photos") == (
        "2 images can't be used: "
        'photos/cat/9.png: it is the same image as photos/dog/3.png, which has the label "dog"; '
        'photos/dog/3.png: it is the same image as photos/cat/9.png, which has the label "cat" '
        "(fix or remove them, or use on_bad_input: :skip)"
    )
    splits = read("photos", on_bad_input="skip")
    assert splits.skipped == (
        'photos/cat/9.png: it is the same image as photos/dog/3.png, which has the label "dog"',
        'photos/dog/3.png: it is the same image as photos/cat/9.png, which has the label "cat"',
    )
    assert sum(parts(splits)) == 9


def test_one_image_with_two_values_is_a_repeated_measurement(read, photo):
    rows = [{"input": photo(f"{i}.png"), "label": i + 0.5} for i in range(10)]
    rows += [{"input": "3.png", "label": 99.0}]
    splits = read({"stream": "s"}, streams={"s": rows})
    assert sum(parts(splits)) == 11


def test_training_copies_of_held_out_images_are_left_out(read, class_folder, photo, warned):
    class_folder("a", cat=10, dog=10)
    class_folder("b", cat=15, dog=15)
    for i in range(2):
        photo(f"a/cat/copy{i}.png", like=f"b/cat/{i}.png")
    splits = read({"train": "a", "test": "b"})
    assert parts(splits) == (17, 3, 30)
    assert warned == [
        "left 2 images out of training, exact copies of held-out ones, for example a/cat/copy0.png"
    ]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 5}, 'all images have the label "cat"; a classifier needs two classes'),
        ({"cat": 5, "dog": 0}, "no images in the class folder photos/dog (add photos or remove it)"),
    ],
)
def test_classes_that_cannot_be_learned(read, class_folder, counts, message):
    for label in counts:
        Path("photos", label).mkdir(parents=True)
    class_folder("photos", **counts)
    assert failure(read, "photos") == message


def test_an_archive_unpacked_into_a_folder_of_its_name(read, class_folder):
    class_folder("photos/photos", cat=5, dog=5)
    assert failure(read, "photos") == (
        'all images have the label "photos"; a classifier needs two classes, did you mean "photos/photos"?'
    )


def test_bytes_of_one_class_lie_in_no_folder_of_the_users(photo, progress):
    rows = [{"input": Path(photo(f"{i}.png")).read_bytes(), "label": "cat"} for i in range(40)]
    recipe = parse_recipe({"backbone": "mobilenet_v2", "data": {"stream": "s"}})
    with spool_folder() as spool:
        message = failure(read_splits, recipe, IMAGE, choose_task, {"s": rows}, spool, progress)
    assert message == 'all images have the label "cat"; a classifier needs two classes'


def test_a_class_of_one_image_and_its_copy_is_trained_on(read, class_folder, photo):
    class_folder("photos", cat=5, dog=1)
    photo("photos/dog/again.png", like="photos/dog/0.png")
    splits = read("photos")
    assert splits.labels == ("cat", "dog")
    assert splits.test.targets.tolist() == [0]
    assert 1 in splits.train.targets


def test_targets_that_cannot_be_learned(read, photo):
    same = [{"input": photo(f"{i}.png"), "label": 1.5} for i in range(3)]
    assert failure(read, {"stream": "s"}, streams={"s": same}) == "every target is 1.5; nothing to learn"
    late = [{**row, "label": 1_700_000_000.5} for row in same]
    assert failure(read, {"stream": "s"}, streams={"s": late}).startswith("every target is 1700000000.5;")
    one = [{"input": "0.png", "label": 1.5}, {"input": "0.png", "label": 2.5}]
    assert failure(read, {"stream": "s"}, streams={"s": one}) == (
        "there is only one distinct image; one can't be both trained on and measured"
    )


def test_labels_that_are_only_measured(read, class_folder):
    class_folder("a", cat=5, dog=5)
    class_folder("b", cat=5, cow=5, hen=1)
    assert failure(read, {"train": "a", "test": "b"}) == (
        'test has labels that train never has: "cow", "hen" (add training images, or remove them there)'
    )


def test_a_split_column_with_gaps_or_without_training_rows(read, photo):
    rows = [{"input": photo(f"{i}.png"), "label": i % 2, "split": "test"} for i in range(4)]
    assert failure(read, {"stream": "s"}, streams={"s": rows}) == "the data has a split test but no train"
    rows[2] = {"input": "2.png", "label": 0}
    rows[1]["split"] = "train"
    assert failure(read, {"stream": "s"}, streams={"s": rows}) == (
        "row 3 (2.png) names no split, but other rows do (one of: train, valid, test)"
    )


def test_regression_whose_training_images_are_all_held_out(read, photo):
    rows = [
        {"input": photo(f"{i}.png"), "label": i + 0.5, "split": s}
        for i in range(3)
        for s in ("train", "test")
    ]
    assert failure(read, {"stream": "s"}, streams={"s": rows}) == (
        "no training images are left: all are also held out"
    )


def test_warnings_about_classes(read, class_folder, warned):
    class_folder("photos/train", cat=22, dog=2, Dog=3)
    class_folder("photos/test", cat=20, Dog=1)
    read("photos", split={"valid": 0})
    assert warned == [
        'the classes are unbalanced: 22 training images of "cat", 2 of "dog". '
        "Compare balanced_accuracy and macro_f1, not accuracy. Try: class_weights: :balanced",
        'test has no image of "dog"; the metrics do not cover it',
        'the classes "Dog", "dog" differ only in upper and lower case; are they one?',
    ]
    warned.clear()
    read("photos", split={"valid": 0}, train={"class_weights": "balanced"})
    assert len(warned) == 2


def test_labelled_images_for_a_trained_model(measure, class_folder):
    dataset = measure(class_folder("new", dog=2, cat=1), ["cat", "cow", "dog"])
    assert isinstance(dataset, Dataset)
    assert dataset.targets.tolist() == [0, 2, 2]
    assert (
        failure(measure, "new", ["cat", "cow"]) == 'the model has no class "dog" (its classes: "cat", "cow")'
    )


def test_measuring_reads_the_held_out_part(measure, class_folder, names):
    class_folder("photos/train", cat=3)
    class_folder("photos/valid", cat=2)
    assert len(measure("photos", ["cat"])) == 2
    class_folder("photos/test", cat=1)
    assert [Path(p).parts[1] for p in measure("photos", ["cat"]).inputs] == ["test"]


def test_measuring_a_regression(measure, photo):
    rows = [{"input": photo(f"{i}.png"), "label": i} for i in range(3)]
    assert measure({"stream": "s"}, ["age"], "regression", {"s": rows}).targets.tolist() == [[0], [1], [2]]
    assert failure(measure, {"stream": "s"}, ["x", "y"], "regression", {"s": rows}) == (
        "the model has 2 outputs, but the data has 1"
    )


def test_a_class_of_one_image_may_train_where_nothing_is_held_out(read, class_folder):
    class_folder("photos", cat=5, dog=1)
    assert parts(read("photos", split={"test": 0, "valid": 0})) == (6, 0, 0)


def test_work_grows_linearly_with_the_files(read, tmp_path):
    found, calls = [], []
    for per_class in (50, 500):
        for label in range(10):
            folder = tmp_path / f"of{per_class}" / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(per_class):
                (folder / f"{i}.jpg").write_bytes(b"\xff\xd8\xff" + f"{label}/{i}".encode())
        calls.append(python_calls(lambda name=folder.parent.name: found.append(parts(read(name)))))
    assert found == [(340, 60, 100), (3400, 600, 1000)]
    assert calls[1] < 12 * calls[0]
