"""Sandbox for a process that runs a network from an untrusted file: files, sockets, programs, memory.

`confinement` has the two steps: a process calls `confine` before it starts a thread, and `freeze` when it
has written its last file. Neither can be undone. `probe` measures the effect on this machine.
"""
