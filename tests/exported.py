"""Predictions with an exported file by ONNX Runtime and the documented format alone; nothing of `export`."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime


class Exported:
    """A file, its metadata, and a session."""

    def __init__(self, path):
        content = Path(path).read_bytes()
        assert content[-76:-64] == b"\x72\x4a\x0a\x06sha256\x12\x40"
        assert content[-64:].decode() == hashlib.sha256(content[:-76]).hexdigest()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.properties = self.session.get_modelmeta().custom_metadata_map
        self.metadata = json.loads(self.properties["transfer"])
        self.inputs = {given.name for given in self.session.get_inputs()}
        self.outputs = [output.name for output in self.session.get_outputs()]

    def run(self, **feed):
        return dict(zip(self.outputs, self.session.run(None, feed), strict=True))

    def of_text(self, text):
        """`text`, or a tuple of two, by the tokenizer in the file."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.properties["tokenizer.json"])
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.metadata["text"]["max_length"])
        first = tokenizer.encode(*text) if isinstance(text, tuple) else tokenizer.encode(text)
        is_whole = self.metadata["text"]["long"] == "window"
        windows = [first, *(first.overflowing if is_whole else [])]
        longest = max(len(window.ids) for window in windows)
        longest = min(longest + 2, self.metadata["text"]["max_length"])
        feed = {
            name: np.array([getattr(w, part) + [9] * (longest - len(w.ids)) for w in windows], np.int64)
            for name, part in (("input_ids", "ids"), ("token_type_ids", "type_ids"))
        }
        mask = [[i < len(w.ids) for i in range(longest)] for w in windows]
        feed["attention_mask"] = np.array(mask, np.int64)
        feed["text_of_window"] = np.zeros(len(windows), np.int64)
        return self.run(**{name: array for name, array in feed.items() if name in self.inputs})

    def of_row(self, row):
        """A mapping from columns to numbers, texts and None."""
        kinds = {"number": [], "category": []}
        for column in self.metadata["columns"]:
            kinds[column["type"]].append(row[column["name"]])
        numbers = [np.nan if cell is None else float(cell) for cell in kinds["number"]]
        categories = ["" if cell is None else str(cell) for cell in kinds["category"]]
        feed = {"numbers": np.array([numbers]), "categories": np.array([categories], object)}
        return self.run(**{name: array for name, array in feed.items() if name in self.inputs})


def assert_same(found, prediction, labels, close=1e-4):
    """Probabilities or values of one input, and what follows from them."""
    if "values" in found:
        own = [prediction["value"]] if "value" in prediction else [prediction["values"][n] for n in labels]
        scale = max(1.0, float(np.abs(own).max()))
        assert np.abs(found["values"][0] - own).max() <= close * scale
        return
    own = np.array([prediction["scores"][label] for label in labels])
    assert found["probabilities"].dtype == np.float64
    assert np.abs(found["probabilities"][0] - own).max() <= close
    if "labels" in prediction:
        chosen = {label for label, is_on in zip(labels, found["positive"][0], strict=True) if is_on}
        assert chosen == set(prediction["labels"])
    else:
        assert labels[int(found["probabilities"][0].argmax())] == prediction["label"]
