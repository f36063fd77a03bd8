"""What is traced in one thread while another computes with modules of its own."""

import threading

import torch
from torch import fx, nn

from transfer_core.backbones.tracing import Tracer


class Pausing(nn.Module):
    """In the middle of its `forward`, another thread has its turn."""

    def __init__(self, meanwhile):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.ReLU()
        self.meanwhile = meanwhile

    def forward(self, x):
        x = self.first(x)
        self.meanwhile()
        return self.second(x)


def in_another_thread(work):
    found = []

    def run():
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_computes_as_ever_and_is_not_recorded():
    network = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3))).eval()
    inputs = torch.ones(4, 2)
    expected = network(inputs)
    found = []
    graph = Tracer().trace(Pausing(lambda: found.append(in_another_thread(lambda: network(inputs)))))
    assert torch.equal(found[0], expected)
    assert [str(node.target) for node in graph.nodes] == ["x", "first", "second", "output"]


def test_torch_itself_would_disturb_it():
    """Why there is a tracer of our own."""
    network, found = nn.Linear(2, 3), []
    fx.Tracer().trace(Pausing(lambda: found.append(in_another_thread(lambda: network(torch.ones(1, 2))))))
    assert isinstance(found[0], NameError)


def test_it_records_what_torch_records():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    mine, theirs = Tracer().trace(block), fx.Tracer().trace(block)
    assert str(mine) == str(theirs)
