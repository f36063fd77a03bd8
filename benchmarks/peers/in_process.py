"""Answers each line of standard input, the path of a photo, with the seconds of a prediction within this
process.

python in_process.py MODEL
"""

import json
import sys
import time

import transfer_core

model = transfer_core.load(sys.argv[1])
for line in sys.stdin:
    photo = line.rstrip("\n")
    started = time.monotonic()
    model.predict(photo)
    print(json.dumps([time.monotonic() - started]), flush=True)
