"""Respond to calls, but ignore the end of the socket and TERM."""

import os
import signal
import time

import wire
from wire import Server, answer

signal.signal(signal.SIGTERM, signal.SIG_IGN)
wire.at_end = lambda: time.sleep(60)

Server({"pid": lambda server, id, params: answer(id, os.getpid())}).run()
