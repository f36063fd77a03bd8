"""Crash while a grandchild holds the socket and the standard error."""

import os
import signal
import subprocess

from wire import Server, connection


def crash(server, id, params):
    subprocess.Popen(["sleep", "30"], pass_fds=[connection.fileno()])
    os.kill(os.getpid(), signal.SIGSEGV)


Server({"crash": crash}).run()
