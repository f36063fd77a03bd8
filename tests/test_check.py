"""Checks of data without a training, and lists of bad inputs."""

from pathlib import Path

import pytest

import transfer_core
from photos import class_folder
from transfer_core.runtime.errors import DataError, RecipeError


@pytest.fixture
def damaged(tmp_path):
    """Photos of which one is no image, and two are cut short."""
    root = Path(class_folder(tmp_path / "photos", per_class=6))
    (root / "leaf" / "empty.png").touch()
    for label in ("sky", "brick"):
        whole = (root / label / "0.png").read_bytes()
        (root / label / "cut.png").write_bytes(whole[: len(whole) // 2])
    reasons = {
        "brick/cut.png": "the file is truncated",
        "leaf/empty.png": "the file is empty",
        "sky/cut.png": "the file is truncated",
    }
    return str(root), [f"{root / name}: {reason}" for name, reason in reasons.items()]


def test_good_data(tmp_path):
    events = []
    report = transfer_core.check(data=class_folder(tmp_path, per_class=6), on_event=events.append)
    assert report.ok
    assert report.labels == {"brick": 6, "leaf": 6, "sky": 6}
    assert sum(report.sizes.values()) == 18
    assert report.to_dict()["ok"]
    assert {event["event"] for event in events} == {"stage", "progress"}


def test_all_bad_inputs_are_problems(damaged):
    root, bad = damaged
    report = transfer_core.check(data=root)
    assert not report.ok
    assert sorted(report.problems) == bad
    assert report.labels == {"brick": 6, "leaf": 6, "sky": 6}
    skipping = transfer_core.check(data=root, on_bad_input="skip")
    assert skipping.ok
    assert any("left out 2 images that can't be decoded" in message for message in skipping.warnings)


def test_a_training_names_the_same(damaged):
    root, bad = damaged
    with pytest.raises(DataError) as error:
        transfer_core.train(backbone="mobilenet_v2", data=root)
    assert str(error.value).startswith(f"3 images can't be used: {'; '.join(bad)} (fix")
    Path(root, "leaf", "empty.png").unlink()
    with pytest.raises(DataError) as error:  # found by decoding alone
        transfer_core.train(backbone="mobilenet_v2", data=root)
    assert str(error.value).startswith("2 images can't be used: ")
    assert all(problem in str(error.value) for problem in (bad[0], bad[2]))


def test_what_stops_a_training_is_a_problem(tmp_path):
    class_folder(tmp_path / "photos", per_class=3, colors={"brick": (180, 60, 40)})
    (problem,) = transfer_core.check(data=str(tmp_path / "photos")).problems
    assert "a classifier needs two classes" in problem
    assert transfer_core.check(data=str(tmp_path / "none")).problems[0].endswith("does not exist")
    with pytest.raises(RecipeError):
        transfer_core.check(data=str(tmp_path), epochz=5)


def test_lists_are_complete_and_bounded_in_number(tmp_path, home):
    root = Path(class_folder(tmp_path / "photos", per_class=3))
    bad = [root / "leaf" / f"bad{i}.png" for i in range(20)]
    for path in bad:
        path.touch()
    for number in range(22):
        bad.append(root / "leaf" / f"more{number}.png")
        bad[-1].touch()
        with pytest.raises(DataError, match=f"and {number + 1} more ") as error:
            transfer_core.train(backbone="mobilenet_v2", data=str(root))
        path = str(error.value).partition(f"(all {len(bad)}: ")[2].partition(")")[0]
        assert set(Path(path).read_text().splitlines()) == {f"{each}: the file is empty" for each in bad}
    assert len(list((home / "bad_inputs").iterdir())) == 20
