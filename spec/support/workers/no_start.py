"""Ends before it has answered, as Python does when a package is missing."""

import sys

print("Traceback (most recent call last):", file=sys.stderr)
print(f"ModuleNotFoundError: No module named '{sys.argv[1]}'" if sys.argv[1] != "--fd" else "boom", file=sys.stderr)
sys.exit(1)
