"""Exit before the handshake, as Python does when a package is missing."""

import sys

print("Traceback (most recent call last):", file=sys.stderr)
missing = sys.argv[1]
print(f"ModuleNotFoundError: No module named '{missing}'" if missing != "--fd" else "boom", file=sys.stderr)
sys.exit(1)
