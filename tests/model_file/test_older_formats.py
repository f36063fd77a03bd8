"""A newer version reads the files of all older formats since the first release; one of each is kept."""

from pathlib import Path

import pytest

import transfer_core
from transfer_core.model_file.header import FORMAT_VERSION

pytest.importorskip("sklearn.preprocessing")

SAVED = Path(__file__).parent / "saved"
FIRST = 2

INPUTS = [{"x": 0.1, "y": 0.9}, {"x": 0.9, "y": 0.2}, {"x": 0.5, "y": 0.5}]
# As predicted when the files were written.
EXPECTED = [
    ("left", 1.0),
    ("right", 0.9999999405370117),
    ("right", 0.831119642951061),
]


@pytest.mark.parametrize("version", range(FIRST, FORMAT_VERSION + 1))
def test_its_predictions_stay(version):
    model = transfer_core.load(SAVED / f"format_{version}.transfer")
    assert model.header.format_version == version
    for found, (label, score) in zip(model.predict(INPUTS), EXPECTED, strict=True):
        assert found["label"] == label
        assert found["score"] == pytest.approx(score, abs=1e-6)
    assert model.metrics["accuracy"] > 0.8
