"""Complete the handshake after the given number of seconds; append the pid to a file first."""

import os
import sys
import time

with open(sys.argv[2], "a") as starts:
    starts.write(f"{os.getpid()}\n")
time.sleep(float(sys.argv[1]))

import echo  # noqa: E402, F401
