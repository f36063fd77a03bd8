"""A job of Ray that maps a function over numbers: prints the results, and whether this process has any."""

import os
import sys

import ray

from transfer_core.distributed.embedding import on_cluster
from transfer_core.distributed.storage import Storage
from transfer_core.distributed.trials import map_tasks
from transfer_core.runtime.progress import Progress


def square(number, progress):
    return number**2, os.getpid()


if __name__ == "__main__":
    ray.init(address="auto", log_to_driver=False)
    with on_cluster(Storage(sys.argv[1])):
        found = map_tasks(square, [1, 2, 3, 4, 5], Progress())
    print("results:", [result for result, _ in found], any(pid == os.getpid() for _, pid in found))
