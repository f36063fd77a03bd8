"""Checks of the nodes of a cluster before a training: same code, shared storage."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from transfer_core.distributed.storage import Storage
from transfer_core.runtime import version as code_version
from transfer_core.runtime.devices import Device
from transfer_core.runtime.errors import ConfigurationError, DependencyError, TransferError
from transfer_core.runtime.version import __version__

_PATIENCE_S = 60


@cache
def code_digest() -> str:
    """sha256 of the Python files of transfer_core, 32 hex digits."""
    root = Path(code_version.__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def code() -> str:
    """Version and digest of the code of this process, as it is passed to a job."""
    return f"{__version__}+{code_digest()}"


def require_same_code(expected: str, node: str) -> None:
    """Raise `ConfigurationError` unless this process has the code `expected`, of the client."""
    if expected == code():
        return
    version, _, _ = expected.partition("+")
    if version != __version__:
        raise ConfigurationError(
            f"{node} has transfer_core {__version__}, the client {version}. Fix: install "
            f"transfer-core=={version} on every node, and restart Ray"
        )
    raise ConfigurationError(
        f"{node} has other code of transfer_core {__version__} than the client (digest "
        f"{code().partition('+')[2]}, expected {expected.partition('+')[2]}). Fix: install the same files "
        "on every node, and restart Ray"
    )


def require_shared(storage: Storage, name: str, content: str, node: str) -> None:
    """Raise `ConfigurationError` unless this process reads `content`, which the client wrote, in the file."""
    if storage.read(name) == content.encode():
        return
    raise ConfigurationError(
        f"the storage {storage.location} is not shared: {node} does not see the file that the client wrote "
        "there. Fix: mount the same directory on the client and every node, or give a URL such as "
        "s3://bucket/transfer"
    )


def this_node() -> str:
    """The name of this node in messages."""
    context = import_ray().get_runtime_context()
    return name_of(import_ray().util.get_node_ip_address(), context.get_node_id())


def name_of(address: str, id: str) -> str:
    """The name of a node in messages: address and the beginning of its id."""
    return f"node {address} ({id[:8]})"


def alive() -> list[dict[str, Any]]:
    """The nodes of the cluster that are alive, as `ray.nodes()` describes them."""
    return [node for node in import_ray().nodes() if node["Alive"]]


def is_driver() -> bool:
    """Whether this process is connected to a Ray cluster."""
    ray = sys.modules.get("ray")
    return bool(ray and ray.is_initialized())


def check_nodes(count: int, device: Device) -> None:
    """Raise `ConfigurationError` if the cluster has too few cores, or GPUs, for `count` processes."""
    if count == 1:
        return
    kind, noun = ("GPU", "GPUs") if device.type == "cuda" else ("CPU", "cores")
    there = int(import_ray().cluster_resources().get(kind, 0))
    if count > there:
        raise ConfigurationError(
            f"{count} processes need {count} {noun}, and the cluster has {there}. Fix: start more nodes, or "
            f"processes: {there}"
        )


def begin_checks(location: str, file: str, nonce: str, expected: str) -> dict[Any, str]:
    """Begin to check each node: same code, and storage where the file `file` has the content `nonce`.

    Returns
    -------
    Tasks to names of nodes, for `end_checks`: processes take seconds to start, for which other work is done.
    """
    ray = import_ray()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    check = ray.remote(num_cpus=0, max_retries=0)(_check_node)
    return {
        check.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote(
            location, file, nonce, expected
        ): name_of(node["NodeManagerAddress"], node["NodeID"])
        for node in alive()
    }


def end_checks(tasks: dict[Any, str]) -> None:
    """Wait for the checks of `begin_checks`.

    Raises
    ------
    ConfigurationError
        With the node and the remedy.
    """
    ray = import_ray()
    for task, node in tasks.items():
        try:
            problem = ray.get(task, timeout=_PATIENCE_S)
        except ray.exceptions.RayTaskError as error:
            raise ConfigurationError(
                f"{node} can't run transfer_core ({_last_line(str(error))}). Fix: install "
                f"transfer-core=={__version__} on every node, and restart Ray"
            ) from None
        except ray.exceptions.RayError:
            continue  # lost meanwhile, or too busy: its tasks run elsewhere, and later ones are checked
        if problem:
            raise ConfigurationError(problem)


def import_ray() -> Any:
    """The package ray.

    Raises
    ------
    DependencyError
        If it is not installed.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise DependencyError("the engine ray", "ray", "ray") from None
    return ray


def _check_node(location: str, file: str, nonce: str, expected: str) -> str | None:
    node = this_node()
    try:
        require_same_code(expected, node)
        require_shared(Storage(location), file, nonce, node)
    except TransferError as error:
        return str(error)
    return None


def _last_line(text: str) -> str:
    lines: Iterable[str] = text.strip().splitlines()
    return list(lines)[-1][:300]
