# frozen_string_literal: true

module Transfer
  class CLI
    # The options of `transfer train`: group, name, what follows it (nil: nothing), and what it is for.
    TRAIN_OPTIONS = {
      "Model file" => [
        [:save, "FILE", "Where to save the model"],
        [:force, nil, "Overwrite the file if it is there"],
        [:head_only, nil, "Leave the backbone out: small, but needs the same weights later"],
        [:sign, "KEY", "Sign the model with this private key (transfer help sign)"]
      ],
      "Data" => [
        [:valid, "DATA", "Choose by this data, not by a part held out"],
        [:test, "DATA", "Measure with this data, not with a part held out"],
        [:test_size, "SHARE", "Share of the data held out to measure with (0.2)"],
        [:valid_size, "SHARE", "Share of the rest held out to choose by (0.15)"],
        [:input_column, "A,B", "A manifest's columns of inputs (path, text, the rest)"],
        [:target_column, "A,B", "A manifest's column of labels or numbers (label)"],
        [:split_column, "NAME", "A manifest's column of train, valid, test (split)"],
        [:group_column, "NAME", "A manifest's column of groups that stay on one side"],
        [:ignore_duplicates, nil, "Near-duplicates may be on both sides of the split"],
        [:on_bad_input, "WORD", "raise or skip: what to do about inputs that can't be read"],
        [:augment, "A,B", "Vary the photos while training: flip, crop, rotate, color"]
      ],
      "Network" => [
        [:weights, "NAME", "pretrained, random, a published name, or a file"],
        [:trust, nil, "Allow code to run that comes with the backbone"],
        [:max_length, "N", "Read so many tokens of a text"],
        [:long_texts, "WORD", "truncate or window: what to do about longer ones"],
        [:head, "TYPE", "linear, mlp, svm, random_forest and others: docs/reference/recipe.md"],
        [:hidden, "256,128", "Widths of the hidden layers of an mlp head"],
        [:dropout, "SHARE", "Dropout in the head"]
      ],
      "Training" => [
        [:preset, "NAME", "fast, balanced or best: fills what you leave out"],
        [:task, "NAME", "classification, multi_label or regression, if in doubt"],
        [:epochs, "N", "Passes over the data"],
        [:optimizer, "NAME", "lbfgs, adam, adamw or sgd"],
        [:learning_rate, "RATE", "Step size, such as 1e-3"],
        [:momentum, "SHARE", "Momentum of sgd"],
        [:weight_decay, "RATE", "Pull of the weights towards zero"],
        [:batch_size, "N", "Photos per step"],
        [:loss, "NAME", "cross_entropy, mean_squared_error and others"],
        [:schedule, "NAME", "constant or cosine learning rate"],
        [:warmup, "SHARE", "Share of the steps in which the learning rate rises"],
        [:early_stopping, "N", "Stop after N epochs without improvement"],
        [:layer_decay, "FACTOR", "Lower blocks learn slower, each by this factor"],
        [:class_weights, "NAME", "none or balanced: whether rare classes count more"]
      ],
      "Fine-tuning" => [
        [:unfreeze_last, "N", "Then train the last N blocks, too"],
        [:unfreeze_all, nil, "Then train the whole backbone, too"],
        [:lora_rank, "N", "Then train adapters of rank N in it"],
        [:fine_tune_epochs, "N", "Passes over the data"],
        [:fine_tune_optimizer, "NAME", "adam, adamw or sgd"],
        [:fine_tune_learning_rate, "RATE", "Step size"]
      ],
      "Machine" => [
        [:seed, "N", "Everything random starts from it (0)"],
        [:device, "NAME", "auto, cpu, mps, cuda, cuda:1 ..."],
        [:precision, "NAME", "auto, float32, bfloat16 or float16"],
        [:quiet, nil, "Show no progress"]
      ]
    }.freeze
    private_constant :TRAIN_OPTIONS
  end
end
