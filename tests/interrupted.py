"""Trainings in processes that can be killed: one process imports torch, and forks one for each of them.

Reads a job per line of standard input, answers each with its exit status. A job is JSON: `home`, the `words`
of `transfer_core.train` or the id of the `run` to resume, when to `die`, and where the `result` goes.
"""

import importlib
import json
import os
import signal
import sys
import time
from contextlib import suppress

MODULES = ("torch", "transfer_core.pipeline.five_steps", "transfer_core.public.training")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(seconds):
    """Wherever this process is by then."""
    this = os.pidfd_open(os.getpid())
    if os.fork() == 0:
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(this, signal.SIGKILL)
        os._exit(0)


class Listener:
    """Dies when the last of some events has come; they are waited for in order, by what they say at least."""

    def __init__(self, awaited):
        self.awaited, self.run = list(awaited), None

    def __call__(self, event):
        if event["event"] == "run":
            self.run = event
        if self.awaited and self.awaited[0].items() <= event.items():
            self.awaited.pop(0)
            if not self.awaited:
                die()


def die_at(module, name, at, counts=lambda *_: True):
    """Die in the `at`-th call of a function that counts."""
    owner = importlib.import_module(module)
    usual, calls = getattr(owner, name), []

    def deadly(*arguments):
        if counts(*arguments):
            calls.append(arguments)
        if len(calls) == at:
            die()
        return usual(*arguments)

    setattr(owner, name, deadly)


def die_half_way(at):
    """Die while the `at`-th checkpoint is written, as in a power failure."""
    from transfer_core.runs import checkpoint_file

    usual, calls = checkpoint_file.serialized, []

    def deadly(*arguments):
        calls.append(arguments)
        whole = b"".join(usual(*arguments))
        yield whole[: len(whole) // 2]
        if len(calls) == at:
            die()
        yield whole[len(whole) // 2 :]

    checkpoint_file.serialized = deadly


def is_in_a_run(temporary, *_):
    return temporary.parent.parent.name == "runs"


def run(job):
    os.environ.update(TRANSFER_HOME=job["home"], TRANSFER_OFFLINE="1")
    import transfer_core
    from transfer_core import backbones
    from transfer_core.pipeline import five_steps
    from transfer_core.runs import checkpoints

    if job.get("tiny"):
        from tiny_backbone import tiny_backbone

        network = tiny_backbone()
        backbones.load = five_steps.open_backbone = lambda *_: network
        backbones.facts = five_steps.describe = lambda *_: network.facts
    if job.get("always_keep", True):
        checkpoints.SHORTEST_PAUSE_S = checkpoints.PAUSE_PER_COST = 0
    death = job.get("die") or {}
    listener = Listener(death.get("events", ()))
    if "after" in death:
        die_after(death["after"])
    match death.get("in"):
        case "half-written checkpoint":
            die_half_way(death["at"])
        case "checkpoint not yet renamed":
            die_at("transfer_core.runtime.atomic", "_finish", death["at"], counts=is_in_a_run)
        case "model written":
            die_at("transfer_core.runs.folder", "suppress", 1)
    if "run" in job:
        model = transfer_core.resume(job["run"], on_event=listener)
    else:
        model = transfer_core.train(on_event=listener, **job["words"])
    result = {"model": str(model.path), "run": listener.run}
    with open(job["result"], "w") as file:
        json.dump(result, file)


def main():
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
