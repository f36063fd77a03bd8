# frozen_string_literal: true

require_relative "../recipe_words"
require_relative "../report"

module Transfer
  module CLI
    class Root
      desc "train DATA", "Train a model on images, texts or tables"
      long_desc <<~TEXT
        DATA is a directory with one directory of images per class, or a manifest (.csv,
        .jsonl, .parquet). The backbone is one of `transfer backbones`, or a file.

          transfer train photos/ --save signs.transfer
          transfer train photos/ --backbone resnet18 --preset best
          transfer train photos/ --optimizer adam --epochs 5
          transfer train photos/ --unfreeze-last 3
          transfer train a.csv --test b.csv --target-column age --task regression
          transfer train tweets.csv --backbone hf/sentence-transformers/all-MiniLM-L6-v2
          transfer train pairs.csv --backbone marian/en-pt --task translation
          transfer train houses.csv --target-column price --task regression \\
            --head gradient_boosting --backbone sklearn:ColumnTransformer

        The preset completes the recipe: fast (frozen features and the best linear
        head), balanced (then random crops, and fine-tune the last blocks) or best (then
        fine-tune all blocks). What gains nothing is undone.
      TEXT
      shared_options :backbone, :preset, :budget, :task, *OPTIONS.values_at(*RecipeWords::GROUPS).flat_map(&:keys),
                     :trust, :force, :json
      def train(data)
        train_and_save { |on| Transfer.train(quiet: options[:quiet], on:, **recipe(data)) }
      end

      private

      # @return [Hash{Symbol => Object}] the recipe's words
      def recipe(data) = RecipeWords.new(data, options).to_h

      # @yieldparam on [Hash] listeners of the training
      # @yieldreturn [Model]
      def train_and_save(&)
        file = options[:save] && output_file(:save, "model.transfer")
        sign = signing_key_for(file)
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        model = with_resume_hint(&)
        seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
        model.save(file, backbone: !options[:head_only], sign:) if file
        file ||= model.path.to_s
        output({ file:, seconds:, **model.summary.slice(:task, :labels, :sizes, :metrics, :warnings) }) do
          [*Report.training(model.summary, seconds), *Report.saved(file)]
        end
      end

      # Read before the training, so that a wrong key loses no work.
      def signing_key_for(file)
        raise Thor::Error, "--sign needs --save FILE, the file to sign" if options[:sign] && !file

        options[:sign] && signing_key(options[:sign])
      end

      def with_resume_hint
        run = nil
        yield({ run: ->(event) { run = event.id } })
      rescue Interrupt
        raise Interrupt, ["interrupted", *("Fix: transfer resume #{run}" if run)].join(". ")
      rescue WorkerCrashed, OutOfMemory
        warn "transfer: a checkpoint is kept. Fix: transfer resume #{run}" if run
        raise
      end
    end
  end
end
