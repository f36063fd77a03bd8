"""Option names of other tools, and their equivalents in a recipe."""

from __future__ import annotations

# Synonyms of recipe options.
SYNONYMS = {
    "lr": "learning_rate",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "iterations": "epochs",
    "optim": "optimizer",
    "batch": "batch_size",
    "bs": "batch_size",
    "wd": "weight_decay",
    "l2": "weight_decay",
    "patience": "early_stopping",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "class_weight": "class_weights",
    "warmup_steps": "warmup",
}

_LIMIT = "a training has no time limit. Try: preset: :fast, fewer epochs, or Job#cancel after a while"
_NUMBERS_OF_CLASSES = "the classes are the labels of the data. Fix: leave it out"
_INPUT_SIZE = "the backbone sets the size of its inputs, for detection image_size does. Fix: leave it out"
_HELD_OUT = "Fix: split: { test: 0.2, valid: 0.15 }"
_BACKBONE = 'Fix: backbone: "mobilenet_v2"'
_DEVICE = "Fix: device: :cuda"
_PROCESSES = "Fix: processes: 2 shares fine-tuning between two GPUs"
_CORES = "the setting TRANSFER_THREADS limits the cores. Fix: leave it out"

# Remedies for names without a direct equivalent.
INSTEAD = {
    "callbacks": "Fix: on(:epoch) { |epoch| … } in Ruby, progress= in Python",
    "callback": "Fix: on(:epoch) { |epoch| … } in Ruby, progress= in Python",
    "time": _LIMIT,
    "max_time": _LIMIT,
    "time_limit": _LIMIT,
    "timeout": _LIMIT,
    "metrics": "every metric of the task is measured. Fix: leave it out and read model.metrics",
    "verbose": "Fix: quiet: true hides the progress",
    "gpu": _DEVICE,
    "cuda": _DEVICE,
    "gpus": _PROCESSES,
    "devices": _PROCESSES,
    "num_processes": _PROCESSES,
    "num_classes": _NUMBERS_OF_CLASSES,
    "classes": _NUMBERS_OF_CLASSES,
    "labels": _NUMBERS_OF_CLASSES,
    "img_size": _INPUT_SIZE,
    "input_size": _INPUT_SIZE,
    "input_shape": _INPUT_SIZE,
    "shuffle": "every epoch has a new order. Fix: leave it out; seed: sets the order",
    "workers": _CORES,
    "num_workers": _CORES,
    "n_jobs": _CORES,
    "model": _BACKBONE,
    "network": _BACKBONE,
    "arch": _BACKBONE,
    "architecture": _BACKBONE,
    "pretrained": "Fix: weights: :pretrained (default) or :random",
    "validation_split": _HELD_OUT,
    "val_split": _HELD_OUT,
    "test_size": _HELD_OUT,
    "train_test_split": _HELD_OUT,
}

# Examples of the required options.
EXAMPLES = {
    "backbone": (
        'Fix: backbone: "mobilenet_v2" (images), "hf/sentence-transformers/all-MiniLM-L6-v2" (texts)'
        ' or "sklearn:ColumnTransformer" (tables)'
    ),
    "data": 'Fix: data: "photos/" (a folder per label), "table.csv", or rows { input:, label: }',
}
