# frozen_string_literal: true

module Transfer
  module CLI
    # Options of the recipe, and those of several commands: by group and name, the value (nil: none) and the purpose.
    OPTIONS = {
      "Model file" => {
        save: ["FILE", "Save the model to this file"],
        head_only: [nil, "Save without the backbone: small, needs its weights later"],
        sign: ["KEY", "Sign the model with this private key (transfer help sign)"]
      },
      "Data" => {
        from: ["MODEL", "Continue the training of this model with DATA"],
        valid: ["DATA", "Use this validation set instead of a held-out part"],
        test: ["DATA", "Use this test set instead of a held-out part"],
        corrections: ["CSV", "Corrected table of transfer audit: labels, and keep"],
        without_examples: [nil, "Keep no inputs of DATA in the model file and its report"],
        source: ["DATA", "Labelled source domain; DATA may then lack labels"],
        unlabelled: ["DATA", "More inputs of DATA's domain, without labels"],
        adapt: ["METHOD", "auto, coral, mmd, dann ...: bring both domains together"],
        weigh: ["METHOD", "kmm, discriminator ...: weight the source's examples"],
        test_size: ["SHARE", "Share of the data for the test set (0.2)"],
        valid_size: ["SHARE", "Share of the rest for the validation set (0.15)"],
        input_column: ["A,B", "Columns of inputs in a manifest (path, text, or the rest)"],
        target_column: ["A,B", "Columns of labels or numbers in a manifest (label)"],
        split_column: ["NAME", "Column of train, valid or test in a manifest (split)"],
        group_column: ["NAME", "Column of groups to compare metrics between"],
        split_group: ["NAME", "Keep rows with the same value in the same part"],
        ignore_duplicates: [nil, "Allow near-duplicates in both parts of the split"],
        on_bad_input: ["WORD", "raise or skip inputs that can't be read (raise)"],
        image_size: ["PIXELS", "Side of the inputs for detection (320)"],
        augment: ["A,B", "Augment training images: flip, crop, rand_augment ..."]
      },
      "Network" => {
        weights: ["NAME", "pretrained, random, a published name, or a file"],
        max_length: ["N", "Truncate texts to N tokens"],
        long_texts: ["WORD", "truncate or window longer texts"],
        prefix: ["TEXT", "Write this before each source of a generated text"],
        source_language: ["CODE", "Language of the sources of a translation"],
        target_language: ["CODE", "Language of its targets"],
        beams: ["N", "Hypotheses of the beam search for texts (1: greedy)"],
        head: ["TYPE", "linear, mlp, svm, fcos ... (docs/reference/recipe.md)"],
        hidden: ["256,128", "Widths of the hidden layers of an mlp head"],
        dropout: ["SHARE", "Dropout in the head"]
      },
      "Training" => {
        epochs: ["N", "Passes over the data"],
        optimizer: ["NAME", "lbfgs, adam, adamw or sgd"],
        learning_rate: ["RATE", "Step size, such as 1e-3"],
        momentum: ["SHARE", "Momentum of sgd"],
        weight_decay: ["RATE", "L2 penalty on the weights"],
        batch_size: ["N", "Examples per step"],
        loss: ["NAME", "cross_entropy, mean_squared_error ..."],
        schedule: ["NAME", "constant or cosine learning rate"],
        warmup: ["SHARE", "Share of the steps with a rising learning rate"],
        early_stopping: ["N", "Stop after N epochs without improvement"],
        layer_decay: ["FACTOR", "Multiply the learning rate per block, top down"],
        class_weights: ["NAME", "none or balanced: weigh rare classes more"],
        group_weights: ["NAME", "none, balanced or robust: weigh groups"],
        label_smoothing: ["SHARE", "Label smoothing of generated texts (0.1)"]
      },
      "Fine-tuning" => {
        unfreeze_last: ["N", "Then fine-tune the last N blocks"],
        unfreeze_all: [nil, "Then fine-tune the whole backbone"],
        lora_rank: ["N", "Then train LoRA adapters of rank N"],
        fine_tune_epochs: ["N", "Passes over the data"],
        fine_tune_optimizer: ["NAME", "adam, adamw or sgd"],
        fine_tune_learning_rate: ["RATE", "Step size"],
        fine_tune_loss: ["NAME", "contrastive: train embeddings, then the head"],
        gradually: [nil, "Unfreeze one block after the other"],
        regularize: ["NAME", "l2_sp or wise_ft: stay near published weights"],
        distill: ["TEACHER", "Train with this model or backbone as teacher"],
        relation: ["A,B", "kd, rkd, similarity, contrastive (kd)"]
      },
      "Machine" => {
        seed: ["N", "Seed of all random numbers (0)"],
        device: ["NAME", "auto, cpu, mps, cuda, cuda:1 ..."],
        precision: ["NAME", "auto, float32, bfloat16 or float16"],
        processes: ["N", "Processes that share fine-tuning, one per GPU (1)"],
        engine: ["ADDRESS", "Train on a Ray cluster: ray://head:8265"],
        storage: ["PLACE", "Directory or URL that its nodes share"],
        quiet: [nil, "Show no progress"]
      },
      "Options" => {
        backbone: ["NAME", "Pretrained network (mobilenet_v2)"],
        preset: ["NAME", "fast, balanced or best: defaults of all other options"],
        budget: ["SECONDS", "with --backbone auto: time for the search of the best recipe"],
        task: ["NAME", "classification, regression, translation ... (inferred)"],
        trust: [nil, "Run code that comes with a backbone, model or run"],
        signed_by: ["KEY", "Require a signature by this public key"],
        force: [nil, "Overwrite the output file"],
        max_size: ["SIZE", "Size to keep, such as 500MB"],
        older_than: ["TIME", "Remove what was not used for this time, such as 30d"],
        pictures: [nil, "Show pictures in the terminal; --no-pictures: don't"],
        json: [nil, "Print JSON, errors included"]
      }
    }.freeze
    private_constant :OPTIONS
  end
end
