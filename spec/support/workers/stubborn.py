"""Works, but goes neither at the end of its socket nor at TERM."""

import os
import signal
import time

import wire
from wire import Server, answer

signal.signal(signal.SIGTERM, signal.SIG_IGN)
wire.os = type("os", (), {"_exit": staticmethod(lambda status: time.sleep(60)), "getpid": os.getpid})

Server({"pid": lambda server, id, params: answer(id, os.getpid())}).run()
