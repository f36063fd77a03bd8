import pytest
import torch


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path, monkeypatch):
    """A machine that is offline and has no weights but those of installed packages."""
    monkeypatch.delenv("TRANSFER_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("TRANSFER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRANSFER_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(autouse=True)
def one_thread_each():
    """Tiny forwards are many times slower on threads that other processes compete with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def events():
    return []
