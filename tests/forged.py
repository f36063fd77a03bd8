"""Model files as another program could write them: any header and tensors, under digests that are right."""

import hashlib
import json
import struct

from saved_model import entry_of
from transfer_core.model_file.format import read_model, tensors_digest
from transfer_core.model_file.safetensors_reader import NUMPY_DTYPES

NAMES = {dtype: name for name, dtype in NUMPY_DTYPES.items()}


def fields_of(path):
    """The header of a saved model as plain JSON, without its digests."""
    fields = json.loads(entry_of(path))
    del fields["sha256"], fields["tensors_sha256"]
    return fields


def tensors_of(path):
    return read_model(path).arrays


def sealed(fields, tensors_sha256):
    """The entry; `fields` may also be its JSON, up to the last brace."""
    text = fields if isinstance(fields, str) else json.dumps(fields, ensure_ascii=False)[:-1]
    text += f',"tensors_sha256":"{tensors_sha256}"'
    return text + f',"sha256":"{hashlib.sha256(text.encode()).hexdigest()}"}}'


def places_of(tensors):
    """The table of contents, and the bytes of the tensors."""
    places, content = {}, b""
    for name, array in tensors.items():
        begin, content = len(content), content + array.tobytes()
        dtype = NAMES[array.dtype.str]
        places[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [begin, len(content)]}
    return places, content


def container(table, content):
    """A safetensors file; `table` is its header, as JSON or as an object."""
    raw = (table if isinstance(table, str) else json.dumps(table, ensure_ascii=False)).encode()
    return struct.pack("<Q", len(raw)) + raw + content


def forge(path, fields, tensors):
    """Write a file with this header, an object or JSON without its last brace, and these numpy arrays."""
    places, content = places_of(tensors)
    entry = sealed(fields, tensors_digest(tensors))
    path.write_bytes(container({"__metadata__": {"transfer": entry}, **places}, content))
    return path
