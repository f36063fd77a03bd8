"""Two nodes of Ray on this machine, in processes that are ended by their ids."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

TOKEN = "0123456789abcdef" * 4
# Seconds until a node must have started.
PATIENCE_S = 60


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class RayNode:
    """A node with one CPU: `ray start --block` in a session of its own, with all processes that it starts.

    Parameters
    ----------
    options
        Further options of `ray start`.
    env
        Its variables, besides those of this process.
    log
        File of its output.
    """

    def __init__(self, options, env, log):
        names = ["node-manager", "object-manager", "dashboard-agent-listen", "dashboard-agent-grpc"]
        names += ["runtime-env-agent", "metrics-export"]
        ports = [f"--{name}-port={port}" for name, port in zip(names, free_ports(6), strict=True)]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
        command += ["--num-gpus=0", "--object-store-memory=80000000", "--node-ip-address=127.0.0.1"]
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [*command, *ports, *options],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self):
        """Kill all its processes, as in a power failure, and wait for their end."""
        while pids := self.pids():
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            time.sleep(0.01)

    def pids(self):
        """The processes of its session."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError, IndexError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self._process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found


class RayCluster:
    """A head and a worker node, each with a `TRANSFER_HOME` of its own.

    Attributes
    ----------
    engine
        The address for `engine`.
    head, worker
        The nodes; `worker` is None after `kill_worker`.
    homes
        The directories `TRANSFER_HOME` of both.
    """

    def __init__(self, env=None):
        # Sockets lie below it, and their names must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._gcs, self._dashboard, self._client = free_ports(3)
        self.engine = f"ray://127.0.0.1:{self._dashboard}"
        self.homes = [self.folder / "home-head", self.folder / "home-worker"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._env = {
            "PATH": path,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "4",
            "RAY_health_check_timeout_ms": "2000",
            "TRANSFER_OFFLINE": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            **(env or {}),
        }
        self.head = self.worker = None

    def start(self):
        """Start both nodes."""
        self.start_head()
        self.start_worker()
        return self

    def start_head(self):
        """Start the head, and wait until its job server responds."""
        options = ["--head", f"--port={self._gcs}", "--dashboard-host=127.0.0.1"]
        options += [f"--dashboard-port={self._dashboard}", f"--ray-client-server-port={self._client}"]
        options += [f"--temp-dir={self.folder / 's'}"]
        self.head = self._node(options, self.homes[0], "head.log")
        url = f"http://127.0.0.1:{self._dashboard}/api/jobs/"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        self._until(lambda: urllib.request.urlopen(request, timeout=5).close(), "head.log")

    def start_worker(self):
        """Start the worker node; the head need not have noticed it yet."""
        self.worker = self._node([f"--address=127.0.0.1:{self._gcs}"], self.homes[1], "worker.log")

    def restart_head(self):
        """Kill both nodes, as the worker does not outlive its head, and start the head again."""
        self.kill_worker()
        self.head.kill()
        self.start_head()

    def kill_worker(self):
        if self.worker:
            self.worker.kill()
        self.worker = None

    def end(self):
        """End all processes and remove all files."""
        self.kill_worker()
        if self.head:
            self.head.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _node(self, options, home, log):
        return RayNode(options, {**self._env, "TRANSFER_HOME": str(home)}, self.folder / log)

    def _until(self, attempt, log):
        limit = time.monotonic() + PATIENCE_S
        while True:
            try:
                return attempt()
            except OSError:
                if time.monotonic() > limit:
                    raise AssertionError((self.folder / log).read_text()[-2000:]) from None
            time.sleep(0.1)


class ClusterProcess:
    """A process that has a `RayCluster`, and ends it when this one ends."""

    def __init__(self):
        path = Path(__file__)
        self._process = subprocess.Popen(
            [sys.executable, path, "start"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.engine = self._process.stdout.readline().split()[0]

    def __call__(self, method):
        """Call a method of the cluster, and wait for its end."""
        print(method, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def end(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def main(start):
    """Start a cluster, print its address and token, and call a method per line of standard input."""
    cluster = RayCluster()
    try:
        getattr(cluster, start)()
        print(cluster.engine, TOKEN, flush=True)
        for line in sys.stdin:
            getattr(cluster, line.strip())()
            print("done", flush=True)
    finally:
        cluster.end()


if __name__ == "__main__":
    main(sys.argv[1])
