"""Code in a process of its own that the kernel lets have so much memory and processor time, and no more."""

import subprocess
import sys
from pathlib import Path

PYTHON = Path(__file__).parents[1] / "python"

# The limits count from here: libraries alone map hundreds of megabytes.
_LIMITED = """
import resource, sys
{imports}
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
resource.setrlimit(resource.RLIMIT_AS, (mapped + {memory}, -1))
resource.setrlimit(resource.RLIMIT_CPU, (used + {cpu_s}, -1))
{code}
"""


def run_bounded(code, *arguments, imports="", memory=10**9, cpu_s=20, **settings):
    """What `code` prints, lines of it; fails if it needs more than `memory` bytes or `cpu_s` seconds;
    `settings` as in Ruby."""
    program = _LIMITED.format(imports=imports, code=code, memory=memory, cpu_s=cpu_s)
    environment = {"PYTHONPATH": str(PYTHON), "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve a gigabyte
    environment |= {f"TRANSFER_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()
