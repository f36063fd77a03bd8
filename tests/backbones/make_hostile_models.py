"""SavedModels that reach for files and sockets, made and run by TensorFlow in processes of their own: see
test_tensorflow_trust.py.

    python make_hostile_models.py make FOLDER PORT   make FOLDER/models/NAME
    python make_hostile_models.py clean FOLDER       clean and run copies, then run the originals
    python make_hostile_models.py confine FOLDER     run the originals in a confined process

They read FOLDER/secret, write FOLDER/written/NAME and connect to PORT. Printed is for each the `value`, the
first number of its output (of those that read: the size of the secret), or the `error`. `make` also writes
FOLDER/operations.json, the operations that TensorFlow has, and FOLDER/bombs/NAME, which take memory or time.
"""

import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from google.protobuf.json_format import MessageToDict

SHAPE = (None, 8, 8, 3)


def import_tensorflow():
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    sys.modules["keras"] = None
    import tensorflow as tf

    return tf


class Operations:
    """Scalars, each by an operation that reaches out; `target` is what it may write."""

    def __init__(self, tf, secret, port):
        self.tf, self.raw, self.secret, self.port = tf, tf.raw_ops, str(secret), port

    def after(self, operation):
        with self.tf.control_dependencies([operation]):
            return self.tf.identity(0.0)

    def length(self, text):
        return self.tf.cast(self.tf.strings.length(text), self.tf.float32)

    def first(self, dataset):
        types = {"output_types": [self.tf.string], "output_shapes": [()]}
        iterator = self.raw.AnonymousIteratorV3(**types)
        with self.tf.control_dependencies(
            [self.raw.MakeIterator(dataset=dataset._variant_tensor, iterator=iterator)]
        ):
            return self.length(self.raw.IteratorGetNext(iterator=iterator, **types)[0])

    def write_file(self, target):
        return self.after(self.tf.io.write_file(target, "written"))

    def read_file(self, target):
        return self.length(self.tf.io.read_file(self.secret))

    def save_v2(self, target):
        names = {"tensor_names": ["x"], "shape_and_slices": [""]}
        return self.after(self.raw.SaveV2(prefix=target, tensors=[self.tf.ones(3)], **names))

    def save(self, target):
        return self.after(self.raw.Save(filename=target, tensor_names=["x"], data=[self.tf.ones(3)]))

    def whole_file_reader(self, target):
        queue = self.raw.FIFOQueueV2(component_types=[self.tf.string])
        name = self.tf.constant(self.secret)
        with self.tf.control_dependencies([self.raw.QueueEnqueueV2(handle=queue, components=[name])]):
            reader = self.raw.WholeFileReaderV2()
            return self.length(self.raw.ReaderReadV2(reader_handle=reader, queue_handle=queue).value)

    def text_line_dataset(self, target):
        return self.first(self.tf.data.TextLineDataset(self.secret))

    def record_dataset(self, target):
        return self.first(self.tf.data.FixedLengthRecordDataset(self.secret, 1234))

    def cache_dataset(self, target):
        cached = self.tf.data.Dataset.range(2).cache(target)
        return self.tf.cast(
            cached.reduce(self.tf.constant(0, self.tf.int64), lambda *_: _[1]), self.tf.float32
        )

    def summary_writer(self, target):
        options = {"max_queue": 1, "flush_millis": 1, "filename_suffix": ""}
        writer = self.raw.SummaryWriter()
        return self.after(self.raw.CreateSummaryFileWriter(writer=writer, logdir=target, **options))

    def immutable_const(self, target):
        levels = self.raw.ImmutableConst(dtype=self.tf.uint8, shape=[1234], memory_region_name=self.secret)
        return self.tf.reduce_sum(self.tf.cast(levels, self.tf.float32)) / ord("s")

    def matching_files(self, target):
        return self.tf.cast(self.tf.size(self.raw.MatchingFiles(pattern=self.secret)), self.tf.float32) * 1234

    def print_v2(self, target):
        return self.after(self.raw.PrintV2(input="written", output_stream=f"file://{target}"))

    def debug_identity(self, target):
        return self.raw.DebugIdentity(input=0.0, tensor_name="x:0", debug_urls=[f"file://{target}"])

    def rpc_client(self, target):
        from tensorflow.distribute.experimental.rpc.kernels import gen_rpc_ops

        address = {"server_address": f"127.0.0.1:{self.port}", "shared_name": "client"}
        return self.after(
            gen_rpc_ops.rpc_client(list_registered_methods=True, timeout_in_ms=500, **address)[0]
        )


def operations(hostile):
    """By the name of the operation that must be named, the way to use it."""
    return {
        "WriteFile": hostile.write_file,
        "ReadFile": hostile.read_file,
        "SaveV2": hostile.save_v2,
        "Save": hostile.save,
        "WholeFileReaderV2": hostile.whole_file_reader,
        "TextLineDataset": hostile.text_line_dataset,
        "FixedLengthRecordDatasetV2": hostile.record_dataset,
        "CacheDataset": hostile.cache_dataset,
        "CreateSummaryFileWriter": hostile.summary_writer,
        "ImmutableConst": hostile.immutable_const,
        "MatchingFiles": hostile.matching_files,
        "PrintV2": hostile.print_v2,
        "DebugIdentity": hostile.debug_identity,
        "RpcClient": hostile.rpc_client,
    }


class Maker:
    """Makes SavedModels in `models` whose hostile part writes `written`/NAME."""

    def __init__(self, tf, hostile, root):
        self.tf, self.hostile, self.root = tf, hostile, root
        self.models, self.written = root / "models", root / "written"

    def make(self):
        for name, use in operations(self.hostile).items():
            self.save(name, partial(self.at_signature, name, use))
        for place in (self.branch, self.loop, self.case, self.call):
            self.save(place.__name__, place)
        self.resource("initializer", initialized=True)
        self.resource("creator", created=True)
        self.table()
        self.gradient()
        self.old("old_signature", signature=True)
        self.old("old_initializer", main_op=True)
        self.old("old_saver", saver=True)
        self.renamed()
        self.models = self.root / "bombs"
        for bomb in (self.fill, self.endless):
            self.save(bomb.__name__, bomb)

    def save(self, name, function, module=None, options=None):
        module = module or self.tf.Module()
        spec = self.tf.TensorSpec(SHAPE, self.tf.float32, "images")
        signature = self.tf.function(function, input_signature=[spec]).get_concrete_function()
        self.tf.saved_model.save(module, str(self.models / name), {"serving_default": signature}, options)

    def mean(self, images):
        return self.tf.reduce_mean(images, (1, 2))

    def write(self, name):
        return self.hostile.write_file(str(self.written / name))

    def at_signature(self, name, use, images):
        return self.mean(images) + use(str(self.written / name))

    # In functions that the signature's function runs.

    def branch(self, images):
        empty = self.tf.equal(self.tf.shape(images)[0], 0)
        return self.mean(images) + self.tf.cond(empty, lambda: 1.0, lambda: self.write("branch"))

    def loop(self, images):
        def body(total):
            return (total + 1.0 + self.write("loop"),)

        return self.mean(images) + self.tf.while_loop(lambda total: total < 1.0, body, (0.0,))[0]

    def case(self, images):
        number = self.tf.shape(images)[0] - 1
        return self.mean(images) + self.tf.switch_case(number, [lambda: self.write("case"), lambda: 1.0])

    def call(self, images):
        inner = self.tf.function(lambda: self.write("call"))
        return self.mean(images) + self.tf.function(lambda: inner())()

    def gradient(self):
        tf = self.tf

        @tf.custom_gradient
        def doubled(x):
            return 2 * x, lambda gradient: gradient + self.write("gradient")

        options = tf.saved_model.SaveOptions(experimental_custom_gradients=True)
        self.save("gradient", lambda images: doubled(self.mean(images)), options=options)

    # In functions that the loader runs.

    def resource(self, name, created=False, initialized=False):
        tf, write = self.tf, self.write

        class Resource(tf.saved_model.experimental.TrackableResource):
            def _create_resource(self):
                with tf.control_dependencies([write(name)] if created else []):
                    return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name=name)

            def _initialize(self):
                if initialized:
                    write(name)

        module = tf.Module()
        module.resource = Resource()

        def using(images):
            known = tf.raw_ops.VarIsInitializedOp(resource=module.resource.resource_handle)
            return self.mean(images) + tf.cast(known, tf.float32)

        self.save(name, using, module)

    def table(self):
        """The loader fills it from an asset, whose name leads out of the SavedModel."""
        tf, module, asset = self.tf, self.tf.Module(), self.models / "table.txt"
        columns = tf.lookup.TextFileIndex
        asset.write_text("line")
        source = tf.lookup.TextFileInitializer(
            str(asset), tf.int64, columns.LINE_NUMBER, tf.string, columns.WHOLE_LINE
        )
        module.table = tf.lookup.StaticHashTable(source, default_value="none")

        def looked_up(images):
            return self.mean(images) + self.hostile.length(module.table.lookup(tf.constant(0, tf.int64)))

        self.save("table", looked_up, module)
        asset.unlink()
        with edited(self.models / "table") as graph:
            graph.asset_file_def[0].filename = "../../../secret"

    # In graphs of TensorFlow 1.

    def old(self, name, signature=False, main_op=False, saver=False):
        tf, v1 = self.tf, self.tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            images = v1.placeholder(tf.float32, SHAPE, "images")
            scale = v1.get_variable("scale", initializer=tf.constant(3.0))
            write = tf.group(self.write(name), name="write")
            with tf.control_dependencies([write] if signature else []):
                features = tf.identity((1.0 + self.mean(images)) * scale)
            session.run(v1.global_variables_initializer())
            described = v1.saved_model.predict_signature_def({"images": images}, {"features": features})
            builder = v1.saved_model.Builder(str(self.models / name))
            builder.add_meta_graph_and_variables(
                session, ["serve"], {"serving_default": described}, main_op=write if main_op else None
            )
            builder.save()
        if saver:
            with edited(self.models / name) as graph:
                graph.saver_def.restore_op_name = "write"

    # Written by hand.

    def renamed(self):
        """A function of the library has the name of an operation that writes."""
        one = self.tf.function(lambda: self.tf.constant(1.0))
        self.save("renamed", lambda images: self.mean(images) + one())
        with edited(self.models / "renamed") as graph:
            functions = graph.graph_def.library.function
            nodes = [node for each in functions for node in each.node_def if node.op == "PartitionedCall"]
            (call,) = (node for node in nodes if not node.input)
            (called,) = (each for each in functions if each.signature.name == call.attr["f"].func.name)
            called.signature.name = call.attr["f"].func.name = "WriteFile"

    # Without forbidden operations.

    def fill(self, images):
        return self.mean(images) + self.tf.reduce_sum(self.tf.fill([1 << 29], images[0, 0, 0, 0]))

    def endless(self, images):
        """Of several images."""
        several = self.tf.shape(images)[0] > 1
        (total,) = self.tf.while_loop(lambda _: several, lambda total: (total + 1.0,), (0.0,))
        return self.mean(images) + total


class edited:
    """The graph of the SavedModel in a folder, written again when the block ends."""

    def __init__(self, folder):
        self.file = folder / "saved_model.pb"

    def __enter__(self):
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        self.model = SavedModel.FromString(self.file.read_bytes())
        return self.model.meta_graphs[0]

    def __exit__(self, *_):
        self.file.write_bytes(self.model.SerializeToString())


def value_of(tf, folder):
    """Loads the SavedModel and calls its signature as anybody would."""
    try:
        outputs = tf.saved_model.load(str(folder)).signatures["serving_default"](
            images=tf.zeros((1, 8, 8, 3))
        )
        return {"value": float(next(iter(outputs.values()))[0][0])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def cleaned_value_of(tf, folder):
    from transfer_core.backbones.tensorflow.graph_cleaning import Untrusted
    from transfer_core.backbones.tensorflow.graph_endpoint import clean_folder

    with tempfile.TemporaryDirectory() as name:
        copy = Path(shutil.copytree(folder, f"{name}/copy"))
        try:
            clean_folder(copy)
        except Untrusted as error:
            return {"untrusted": str(error)}
        return value_of(tf, copy)


def known_operations():
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session as session

    known = OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    return MessageToDict(known, preserving_proto_field_name=True)["op"]


def make(root, port):
    tf = import_tensorflow()
    from transfer_core.backbones.tensorflow.allowed_operations import ALLOWED

    known = {"known": known_operations(), "allowed": sorted(ALLOWED)}
    (root / "operations.json").write_text(json.dumps(known))
    (root / "models").mkdir()
    Maker(tf, Operations(tf, root / "secret", int(port)), root).make()


def clean(root):
    tf = import_tensorflow()
    found = {}
    for way, try_ in (("cleaned", cleaned_value_of), ("run", value_of)):
        found[way] = each(root, partial(try_, tf))
        found[f"written by {way}"] = sorted(path.name for path in (root / "written").iterdir())
    print(json.dumps(found))


def confine(root):
    from transfer_core.sandbox import confinement

    confinement.confine(["tensorflow"], [root / "models"], [])
    os.environ["HOME"] = tempfile.tempdir = str(root / "models")
    tf = import_tensorflow()
    confinement.freeze(4 << 30)
    print(json.dumps(each(root, partial(value_of, tf))))


def each(root, run):
    return {folder.name: run(folder) for folder in sorted((root / "models").iterdir())}


if __name__ == "__main__":
    {"make": make, "clean": clean, "confine": confine}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
