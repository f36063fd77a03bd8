"""The Python half of numbers.rb: the real server with methods that send and take numbers."""

import sys

import numpy as np

from transfer_core.worker import shared_memory
from transfer_core.worker.__main__ import main
from transfer_core.worker.calls import Call
from transfer_core.worker.server import Method
from transfer_core.worker.tensors import Tensor, from_numpy

_numbers: dict[int, np.ndarray] = {}


def numbers(call: Call, bytes: int, way: str) -> object:
    """The same float32 each time, by one way or the other."""
    if bytes not in _numbers:
        _numbers[bytes] = np.arange(bytes // 4, dtype=np.float32)
    array = _numbers[bytes]
    return from_numpy(array) if way == "socket" else array


def total(call: Call, numbers: object) -> float:
    assert isinstance(numbers, Tensor)
    return float(numbers.to_numpy().sum())


def total_of_list(call: Call, numbers: list[object]) -> float:
    return float(np.asarray(numbers, dtype=np.float32).sum())


if __name__ == "__main__":
    shared_memory.LARGEST_INLINE = 1024  # both ways for every size
    methods = {"numbers": numbers, "sum": total, "sum_list": total_of_list}
    main(sys.argv[1:], {name: Method(run, "compute") for name, run in methods.items()}, warm_up=lambda: None)
