"""The scripts that `export` writes: each predicts as the model, in a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn  # noqa: F401 - sets variables when it is imported
from PIL import Image

import transfer_core
from photos import class_folder
from tiny_encoder import tiny_encoder
from transfer_core.runtime.errors import ConfigurationError

pytestmark = [pytest.mark.extras, pytest.mark.slow]

BROWSER = Path(__file__).parents[2] / "examples" / "browser"
CHROMIUM = shutil.which("chromium")
WORDS = ["train", "plane", "we", "you", "late", "early", "the", "it"]
TEXTS = [(f"a {feeling} {word}", feeling) for feeling in ("good", "bad") for word in WORDS]
ROWS = [({"size": float(i), "kind": "ab"[i % 2]}, "low" if i < 10 else "high") for i in range(20)]


def train(tmp_path, kind):
    """A model, an input, and the arguments that pass the input to the script."""
    if kind == "image":
        photos = class_folder(tmp_path / "photos")
        model = transfer_core.train(backbone="sklearn:pixels(size=8)", data=photos)
        grey = np.asarray(Image.open(f"{photos}/leaf/1.png").convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(tmp_path / "deep.png")
        return model, str(tmp_path / "deep.png"), [str(tmp_path / "deep.png")]
    if kind == "table":
        data = [{"input": row, "label": label} for row, label in ROWS]
        model = transfer_core.train(backbone="sklearn:ColumnTransformer", data=data)
        return model, ROWS[7][0], [json.dumps(ROWS[7][0])]
    backbone = tiny_encoder(tmp_path / "tiny") if kind == "tokens" else "sklearn:TfidfVectorizer"
    data = [{"input": text, "label": label} for text, label in TEXTS]
    return transfer_core.train(backbone=backbone, data=data), "a GOOD, good day", ["a GOOD, good day"]


@pytest.mark.parametrize("kind", ["image", "table", "tokens", "terms"])
def test_python(tmp_path, kind):
    model, input, arguments = train(tmp_path, kind)
    report = model.export(tmp_path / "my model.onnx", loader="python")
    assert report.loader == tmp_path / "my model.py"
    run = [sys.executable, "-S", "-c", _WITH_PACKAGES, report.loader, *arguments]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    expected = model.predict(input)["scores"]
    assert scores.keys() == expected.keys()
    assert max(abs(scores[label] - expected[label]) for label in scores) < 1e-3


# Runs a script where transfer_core can't be imported.
_WITH_PACKAGES = f"""
import sys, runpy
sys.path += {[path for path in sys.path if path.endswith("site-packages")]!r}
sys.modules["transfer_core"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
@pytest.mark.skipif(not (BROWSER / "node_modules").exists(), reason="needs npm install in examples/browser")
def test_browser(tmp_path):
    photos = class_folder(tmp_path / "photos")
    model = transfer_core.train(backbone="mobilenet_v2", data=photos, precision="float32")
    report = model.export(tmp_path / "m.onnx", loader="browser")
    run = ["node", BROWSER / "check.mjs", report.loader, f"{photos}/sky/2.png"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    expected = model.predict(f"{photos}/sky/2.png")["scores"]
    assert max(abs(scores[label] - expected[label]) for label in scores) < 1e-4


def test_refused(tmp_path):
    model, _, _ = train(tmp_path, "table")
    with pytest.raises(ConfigurationError, match='unknown loader "perl"'):
        model.export(tmp_path / "m.onnx", loader="perl")
    with pytest.raises(ConfigurationError, match=r"takes images of models .* Fix: use the loader python"):
        model.export(tmp_path / "m.onnx", loader="browser")
    with pytest.raises(ConfigurationError, match=r"Fix: use letters, digits"):
        model.export(tmp_path / 'm"; exit(1); ".onnx', loader="python")
    (tmp_path / "m.py").write_text("print('mine')")
    with pytest.raises(ConfigurationError, match=r"m.py exists. Fix: rename it"):
        model.export(tmp_path / "m.onnx", loader="python")
    assert not (tmp_path / "m.onnx").exists()
    model.export(tmp_path / "new.onnx", loader="ruby")
    model.export(tmp_path / "new.onnx", loader="ruby")
    assert "Transfer::Onnx.load" in (tmp_path / "new.rb").read_text()
