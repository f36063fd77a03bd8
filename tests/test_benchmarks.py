"""The benchmarks' own machinery: no figure is judged here, and nothing waits for the clock."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sklearn.preprocessing  # noqa: F401  its first import changes the environment
from benchmarks import __main__ as command
from benchmarks import (
    choosing,
    detection,
    faithfulness,
    gpu,
    growth,
    main_job,
    photos,
    pretrained_detectors,
    process,
    results,
    search,
    second_run,
    training,
)
from benchmarks.part import Options
from benchmarks.process import Run
from benchmarks.table import Section, Table, Target, seconds, section, table
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def says(code: str) -> process.Command:
    return lambda home: ([sys.executable, "-c", code, str(home)], {})


def training_told(at: float, accuracy: float = 0.8) -> dict[str, Any]:
    """A training that begins at `at`: choose 1 s, freeze 2 s, head 0 s, train 0.5 s, evaluate 0.5 s."""
    offsets = {"choose": 0.0, "freeze": 1.0, "head": 3.0, "train": 3.0, "evaluate": 3.5}
    stages = [{"step": step, "at": at + offset} for step, offset in offsets.items()]
    return {"ended": at + 4, "stages": stages, "epochs": [], "embedded": [], "accuracy": accuracy}


def run(wall_s: float, **said: Any) -> dict[str, Any]:
    return {"seed": 0, **Run(wall_s, wall_s, 500.0, said, started=100.0).plain()}


# Tables and targets.


def test_a_table_lines_up_and_is_markdown() -> None:
    shown = table(Table(("", "time"), (("ours", "1 s"), ("the others", "20 s"))))
    assert shown.splitlines() == [
        "|            | time |",
        "| ---------- | ---: |",
        "| ours       |  1 s |",
        "| the others | 20 s |",
    ]


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        (Target("speed", 16, 15), "met"),
        (Target("speed", 12, 15), "missed by 20 %"),
        (Target("time", 0.6, 0.5, at_least=False, unit="s"), "missed by 20 %"),
        (Target("time", 0.5, 0.5, at_least=False, unit="s"), "met"),
        (Target("speed", None, 15), "not measured"),
    ],
)
def test_a_target_says_by_how_much_it_was_missed(target: Target, verdict: str) -> None:
    assert target.verdict == verdict


def test_a_section_has_its_targets_last() -> None:
    shown = section(Section("Speed", ("As measured.",), (), (Target("faster", 12.0, 15),)))
    assert shown.startswith("## Speed\n\nAs measured.\n\n| target |")
    assert shown.splitlines()[-1] == "| faster |   12.0 × | ≥ 15.0 × | missed by 20 % |"


def test_seconds_are_a_median_and_a_range() -> None:
    assert seconds([3.0, 1.0, 2.0]) == "2.00 s (1.00 to 3.00)"
    assert seconds([1.0, 2.0]) == "1.50 s (1.00 to 2.00)"
    assert seconds([1.0]) == "1.00 s"


# Processes.


def test_a_process_is_measured_with_what_it_says_last() -> None:
    found = process.measure(
        says(
            "import sys, os, time; print('noise'); time.sleep(0.3); "
            "print('{\"home\": %d}' % os.path.isdir(sys.argv[1]))"
        )
    )
    assert found.said == {"home": 1}
    assert found.problem is None
    assert found.peak_mb > 1


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("raise SystemExit('no such peer')", "exit status 1: no such peer"),
        ("1 / 0", "exit status 1: ZeroDivisionError: division by zero"),
        ("print('done')", "printed no JSON on its last line but 'done'"),
    ],
)
def test_a_process_that_fails_is_a_result_with_the_reason(code: str, problem: str) -> None:
    assert process.measure(says(code)).problem == problem


def test_a_child_of_another_program_adds_to_the_peak_and_a_fork_does_not() -> None:
    waits = "import time; x = bytearray(60 * 2**20); time.sleep(0.3); print('{}')"
    forks = f"import os\nif os.fork():\n    os.wait(); print('{{}}')\nelse:\n    {waits}"
    starts = (
        "import subprocess; subprocess.run(['ruby', '-e', 'x = %q(a) * 60_000_000; sleep 0.3']); print('{}')"
    )
    alone, forked, started = (process.measure(says(code)) for code in (waits, forks, starts))
    assert forked.peak_mb < alone.peak_mb + 15
    assert started.peak_mb > alone.peak_mb + 15


def test_commands_take_turns_as_often_as_they_are_asked_to() -> None:
    lines: list[str] = []
    both = {"a": says("print('{}')"), "b": says("print('{}')"), "bad": says("raise SystemExit('no')")}
    found = process.alternate(both, {"a": 2, "b": 1, "bad": 2}, lines.append)
    assert {name: len(runs) for name, runs in found.items()} == {"a": 2, "b": 1, "bad": 1}
    assert sorted(line.split(":")[0] for line in lines) == ["a, run 1", "a, run 2", "b, run 1", "bad, run 1"]


# Photos.


@pytest.fixture
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve transparent pictures of two classes, as bin/quickstart leaves them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng = np.random.default_rng(0)
    for label in ("bird", "coin"):
        folder = tmp_path / "transfer-rb" / "stamps" / "photos" / label
        folder.mkdir(parents=True)
        for i in range(6):
            Image.fromarray(rng.integers(0, 255, (20, 30, 4), np.uint8)).save(folder / f"{i}.png")
    return tmp_path


def test_the_split_is_stratified_seeded_and_complete(stamps: Path) -> None:
    folder = photos.split(seed=1)
    test = sorted(str(path.relative_to(folder)) for path in folder.glob("test/*/*"))
    train = sorted(str(path.relative_to(folder)) for path in folder.glob("train/*/*"))
    assert [path.split("/")[1] for path in test] == ["bird", "coin"]
    assert len(train) == 10
    assert not {path[5:] for path in test} & {path[6:] for path in train}
    assert photos.held_out(["a"] * 10 + ["b"], 3) == photos.held_out(["a"] * 10 + ["b"], 3)


def test_photos_of_a_split_are_on_white(stamps: Path) -> None:
    picture = stamps / "clear.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(picture)
    assert photos.on_white(picture).getpixel((0, 0)) == (255, 255, 255)


def test_grown_photos_differ_and_small_sets_are_the_beginning_of_large_ones(stamps: Path) -> None:
    small, large = (photos.grown(count, of=20).read_text().splitlines() for count in (5, 20))
    assert large[: len(small)] == small
    folder = photos.grown(5, of=20).parent
    assert len({(folder / line.split(",")[0]).read_bytes() for line in large[1:]}) == 20


def test_large_photos_are_jpegs_of_one_size(stamps: Path) -> None:
    found = sorted(photos.large(4).glob("*/*/*.jpg"))
    assert [Image.open(path).size for path in found] == [(1600, 1200)] * 4


# Parts.


def test_stages_and_epochs_are_told_apart() -> None:
    told = training_told(10.0)
    told["epochs"] = [
        {"step": "train", "at": 12.0},
        {"step": "train", "at": 12.5},
        {"step": "train", "at": 13.5},
    ]
    told["embedded"] = [{"done": 8, "at": 11.0}, {"done": 108, "at": 12.0}]
    assert training.stage_s(told) == {
        "choose": 1.0,
        "freeze": 2.0,
        "head": 0.0,
        "train": 0.5,
        "evaluate": 0.5,
    }
    assert training.train_s(told) == 4.0
    assert training.epoch_s(told, "train") == [0.5, 1.0]
    assert training.images_per_s(told) == 100.0


def test_the_main_job_shows_ratios_and_a_peer_that_failed() -> None:
    broken = {"seed": 0, **Run(1.0, 1.0, 1.0, {}, problem="exit status 1: no fastai").plain()}
    runs = {
        main_job.OURS: [run(5.0, trainings=[training_told(101.0)])],
        main_job.FLOOR: [run(4.8, accuracy=0.8)],
        main_job.KNOWN: [run(3.0, trainings=[training_told(101.0)])],
        main_job.ENGINE: [run(2.0, accuracy=0.8)],
        main_job.SKLEARN: [run(10.0, accuracy=0.8)],
        main_job.TUTORIAL: [run(50.0, accuracy=0.75)],
        main_job.KERAS: [run(80.0, accuracy=0.9)],
        main_job.FASTAI: [broken],
    }
    report = main_job.report({"runs": runs, "floor_precision": "float32", "epochs": 5})
    verdicts = {target.what: target.verdict for target in report.targets}
    assert verdicts["known backbone: faster than PyTorch's tutorial loop"] == "missed by 17 %"
    assert verdicts["known backbone: faster than Keras on torch"] == "met"
    assert verdicts["known backbone: faster than fastai, frozen"] == "not measured"
    assert verdicts["accuracy at least that of Keras on torch"] == "missed by 11 %"
    assert verdicts[f"{main_job.OURS} over {main_job.FLOOR}"] == "met"
    assert verdicts[f"{main_job.KNOWN} over {main_job.ENGINE}"] == "missed by 15 %"
    assert "did not run: exit status 1: no fastai" in section(report)
    shares = report.tables[1].rows
    assert shares[0] == ("start Ruby and Python, import", "1.00 s", "20.0 %")


def test_growth_is_measured_beyond_the_start() -> None:
    def whole(size: int, peak_mb: float) -> list[dict[str, Any]]:
        told = {"trainings": [training_told(101.0)]}
        return [Run(3.0 + size / 100, 1.0, peak_mb, told, 100.0).plain()]

    runs = {"26": whole(26, 400), "500": whole(500, 450), "1000": whole(1000, 500), "8000": whole(8000, 600)}
    flat, memory = growth.report({"start": 26, "runs": runs}).targets
    assert flat.measured == pytest.approx(0, abs=1e-9)
    assert memory.measured == pytest.approx(0.2)
    assert memory.verdict == "missed by 100 %"


def test_a_second_run_is_compared_without_start() -> None:
    cold, quick = training_told(100.0), training_told(104.0)
    quick["ended"] = quick["stages"][0]["at"] + 0.1
    quick["stages"] = [quick["stages"][0], {"step": "train", "at": quick["ended"] - 0.05}]
    names = [second_run.COLD, second_run.WEIGHED, second_run.MLP, second_run.MORE]
    told = run(9.0, trainings=[cold, quick, quick, quick])
    report = second_run.report({"photos": 2000, "names": names, "runs": [told]})
    assert [target.verdict for target in report.targets] == ["met", "met", "met", "met", "missed by 20 %"]


def test_every_part_measures_and_reports_and_says_what() -> None:
    for name in command.NAMES:
        part = import_module(f"benchmarks.{name}")
        assert callable(part.measure)
        assert callable(part.report)
        assert part.__doc__.splitlines()[0].endswith(".")


def test_the_gpu_part_measures_a_cpu_in_a_quick_run() -> None:
    measured = gpu.measure(Options(quick=True, say=lambda line: None))
    if measured["device"] != "CPU, no GPU":
        pytest.skip("this machine has a GPU: bin/measure-gpu measures it")
    speeds = measured["networks"]["mobilenet_v2"]["float32"]
    assert speeds["embed"] > 0
    assert speeds["train"] > 0
    shown = section(gpu.report(measured))
    assert "mobilenet_v2" in shown
    assert "not run" in shown


def test_choosing_is_measured_on_a_table_in_a_quick_run() -> None:
    measured = choosing.measure(Options(quick=True, say=lambda line: None))
    (found,) = measured["ranking"].values()
    assert all(-1 <= found[score]["tau"] <= 1 for score in choosing.SCORES)
    assert measured["estimates"]["table"]["ratio"] > 0
    shown = section(choosing.report(measured))
    assert "| table wine |" in shown
    assert "lowest tau of the default score" in shown


def test_detectors_are_measured_in_a_quick_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))
    detection.main("--quick")
    pretrained_detectors.quick()
    lines = capsys.readouterr().out.splitlines()
    measured = {name: json.loads(rest) for name, rest in (line.split(": ", 1) for line in lines[:2])}
    assert list(measured) == list(detection.PROGRAMS)
    assert all(each > 0 and 0 <= precision <= 1 for _, each, precision in measured.values())
    assert [line.split(", ")[2][:10] for line in lines[2:]] == ["mobilenet_", "nanodet_g:"]


def test_explanations_are_measured_in_a_quick_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path))
    measured = faithfulness.measure(Options(quick=True, say=lambda line: None))
    assert list(measured) == ["mobilenet_v2, hirescam", "mobilenet_v2, occlusion"]
    for one in measured.values():
        assert one["pointing"] in (0, 1)
        assert 0 < one["chance"] < 1
    assert "mobilenet_v2, hirescam" in section(faithfulness.report(measured))


def test_a_pointing_game_is_won_in_the_box_only() -> None:
    # A photo of 128 pixels, resized to 232, of which the crop are the 224 in the middle.
    heatmap = np.zeros((224, 224))
    heatmap[100, 40] = 1
    box = (24, 57, 26, 59)  # 39.5 to 43.1 and 99.3 to 102.9 in the crop
    hit, chance = faithfulness._pointed(SimpleNamespace(heatmap=heatmap), box, 232)
    assert hit
    assert chance == pytest.approx((2 * 16 + 3.6) ** 2 / 224**2, rel=0.06)
    heatmap[100, 70] = 2
    assert not faithfulness._pointed(SimpleNamespace(heatmap=heatmap), box, 232)[0]


def test_options_make_a_quick_run_small() -> None:
    assert Options(quick=True).count(2000, 100) == 100
    assert Options().count(2000, 100) == 2000


# The command and the page.


class FakePart:
    """Measures nothing, or fails.

    More.
    """

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem

    def measure(self, options: Options) -> dict[str, Any]:
        if self.problem:
            raise self.problem
        options.say("working")
        return {"value": 3}

    def report(self, measured: dict[str, Any]) -> Section:
        return Section("Fake", (f"The value is {measured['value']}.",))


def test_a_part_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    parts = {"growth": FakePart(OSError("disk full")), "head": FakePart()}
    failed = command._measure(parts, command._parser().parse_args(["growth", "head"]))
    assert failed == ["growth"]
    assert capsys.readouterr().err == "  failed: OSError: disk full\nnot measured: growth\n"
    assert json.loads((tmp_path / "head.json").read_text())["measured"] == {"value": 3}


def test_the_page_is_made_of_what_is_kept_and_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    results.keep("head", {"value": 3}, quick=False)
    results.keep("bridge", {"value": 4}, quick=True)
    other = json.loads((tmp_path / "head.json").read_text()) | {"when": "2020-01-01T00:00+00:00"}
    other["machine"] = {**other["machine"], "processor": "slower"}
    (tmp_path / "growth.json").write_text(json.dumps(other))
    found = results.kept(["head", "growth", "bridge"])
    assert list(found) == ["head"]
    page = results.page(found, {"head": FakePart()})
    assert page.startswith("# Results\n\nWritten by `python -m benchmarks`. Don't edit.\n")
    assert "## Fake\n\nThe value is 3.\n" in page
    assert "`OMP_WAIT_POLICY=PASSIVE`" in page


def test_the_list_needs_no_peers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(command.NAMES)


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "invalid choice: 'speed' (choose from" in done.stderr


def test_the_gain_of_a_search_is_the_mean_over_sets() -> None:
    def trained(accuracy: float) -> dict[str, float]:
        return {"accuracy": accuracy, "seconds": 60.0}

    measured = {
        "sets": {"a": [{"default": trained(0.5), "auto": trained(0.6)}]},
        "stored": {"b": [{"default": 0.8, "auto": 0.8}, {"default": 0.7, "auto": 0.8}]},
        "peers": {},
    }
    found = search.report(measured)
    assert found.targets[0].measured == pytest.approx((10 + 5) / 2)
    assert "b, stored embeddings" in section(found)
