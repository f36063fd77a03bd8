"""Implement shared memory independently of the real worker, from docs/reference/protocol.md."""

import os
import struct
import sys

import msgpack
from wire import Server, answer

its, ours = map(int, sys.argv[sys.argv.index("--memory") + 1].split(","))


def put(content, offset, says):
    os.ftruncate(ours, max(os.fstat(ours).st_size, offset + 64 + len(content)))
    os.pwrite(ours, content, offset + 64)
    os.pwrite(ours, struct.pack("<Q", says), offset)


def show(server, id, params):
    """Return a tensor with `bytes` in the block at `offset`."""
    put(params["bytes"], params["offset"], params.get("says", len(params["bytes"])))
    shape = params.get("shape", [len(params["bytes"])])
    answer(id, msgpack.ExtType(2, msgpack.packb(["uint8", shape, params["offset"]])))


def used(server, id, params):
    """Return the number of bytes in use of the block at `offset`."""
    answer(id, struct.unpack("<Q", os.pread(ours, 8, params["offset"]))[0])


def look(server, id, params):
    """Return offset and first bytes of the tensor; free its block unless `keep` is set."""
    dtype, shape, offset = msgpack.unpackb(params["tensor"].data)
    (size,) = struct.unpack("<Q", os.pread(its, 8, offset))
    content = os.pread(its, size, offset + 64)
    if not params.get("keep"):
        os.pwrite(its, bytes(8), offset)
    answer(id, [params["tensor"].code, dtype, shape, offset, content[:8], sum(content) % 251])


def free(server, id, params):
    os.pwrite(its, bytes(8), params["offset"])
    answer(id, None)


def size(server, id, params):
    answer(id, os.fstat(its).st_size)


Server({name: thing for name, thing in globals().items() if callable(thing)}).run()
