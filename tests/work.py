"""Count the work of a function, where its seconds would depend on the machine."""

import sys


def python_calls(function):
    """The number of calls, of Python and C functions, that `function` makes in this thread."""
    count = 0

    def counts(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counts)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count
