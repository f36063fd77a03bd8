"""The worker: a process that serves the public API to Ruby over a socket (`docs/reference/protocol.md`)."""
