"""Answers hello after the given number of seconds; on its way it says so in a file."""

import os
import sys
import time

with open(sys.argv[2], "a") as starts:
    starts.write(f"{os.getpid()}\n")
time.sleep(float(sys.argv[1]))

import echo  # noqa: E402, F401
