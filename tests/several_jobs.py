"""Work of the processes of a group, which they import by name."""

import os
import signal

from transfer_core.training.checkpointer import NO_CHECKPOINTS
from transfer_core.training.processes import Processes


def fine_tuned(jobs, member, progress):
    """One result per job."""
    from transfer_core.distributed.fine_tuning import train_part
    from transfer_core.distributed.group import open_group

    processes = Processes(member.rank, member.count)
    with open_group(member):
        return [train_part(job, NO_CHECKPOINTS, processes, progress) for job in jobs]


def killed(member, progress):
    """The last process is killed as often as it starts."""
    if member.rank == member.count - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def failing(error, member, progress):
    """The last process raises `error`."""
    if member.rank == member.count - 1:
        raise error
    signal.pause()


def waiting(member, progress):
    """Warn with the id of this process, and wait for ever."""
    progress.warning(str(os.getpid()))
    signal.pause()
