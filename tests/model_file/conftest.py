import pytest

from saved_model import HEADER, tensors
from transfer_core.model_file.format import write_model


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "signs.transfer"
    write_model(path, tensors(), HEADER)
    return path
