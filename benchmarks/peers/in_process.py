"""Answers each line of standard input with the seconds that predictions took, all within this process.

  predict FILE           one photo
  batches SIZE FOLDER    all photos of a folder, so many at once

python in_process.py MODEL
"""

import json
import sys
import time
from pathlib import Path

import transfer_core

model = transfer_core.load(sys.argv[1])
for line in sys.stdin:
    match line.rstrip("\n").split(" ", 2):
        case ["predict", photo]:
            asked = [photo]
        case ["batches", size, folder]:
            photos, count = sorted(Path(folder).glob("**/*.png")), int(size)
            asked = [photos[start : start + count] for start in range(0, len(photos), count)]
    started = time.monotonic()
    for each in asked:
        model.predict(each)
    print(json.dumps([time.monotonic() - started]), flush=True)
