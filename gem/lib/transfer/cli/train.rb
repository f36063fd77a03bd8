# frozen_string_literal: true

require_relative "report"
require_relative "train_options"

module Transfer
  # Training.
  class CLI
    # Options that are words of a recipe under the same name.
    WORDS = %i[weights trust task preset device precision on_bad_input seed].freeze
    TRAINING_WORDS = %i[epochs optimizer learning_rate momentum weight_decay batch_size loss schedule warmup
                        early_stopping class_weights layer_decay].freeze
    private_constant :WORDS, :TRAINING_WORDS

    desc "train DATA", "Train a model on your photos, texts or tables"
    long_desc <<~TEXT, wrap: false
      DATA is a folder with one folder of photos per class, or a manifest (.csv,
      .jsonl, .parquet). The backbone is one of `transfer backbones`, or a file.

        transfer train photos/ --save signs.transfer
        transfer train photos/ --backbone resnet18 --preset best
        transfer train photos/ --optimizer adam --epochs 5
        transfer train photos/ --unfreeze-last 3
        transfer train a.csv --test b.csv --target-column age --task regression
        transfer train tweets.csv --backbone hf/sentence-transformers/all-MiniLM-L6-v2
        transfer train houses.csv --target-column price --task regression \\
          --head gradient_boosting --backbone sklearn:ColumnTransformer

      What you leave out the preset fills: fast (frozen features and the best linear
      head), balanced (then the last blocks are fine-tuned) or best (then all of it,
      with augmentation).
    TEXT
    option :backbone, default: "mobilenet_v2", banner: "NAME", desc: "The pretrained network"
    TRAIN_OPTIONS.each do |group, rows|
      rows.each { |name, banner, desc| option name, group:, desc:, banner:, type: banner ? :string : :boolean }
    end
    json_option
    # Trains, reports, saves.
    def train(data)
      train_and_save { |on| Transfer.train(quiet: options[:quiet], on:, **recipe(data)) }
    end

    private

    # @yieldparam on [Hash] listeners that the training must have
    # @yieldreturn [Model]
    def train_and_save(&)
      file = options[:save] && can_be_saved(:save, "model.transfer")
      sign = key_for(file)
      model, seconds = timed { saying_how_to_resume(&) }
      model.save(file, backbone: !options[:head_only], sign:) if file
      file ||= model.path.to_s
      answer({ file:, seconds:, **model.summary.slice(:task, :labels, :sizes, :metrics, :warnings) }) do
        puts Report.training(model.summary, seconds), Report.saved(file)
      end
    end

    # Read before the work, too.
    def key_for(file)
      raise Thor::Error, "--sign needs --save FILE, the file to sign" if options[:sign] && !file

      options[:sign] && signing_key(options[:sign])
    end

    def saying_how_to_resume
      run = nil
      yield({ run: ->(event) { run = event.id } })
    rescue Interrupt
      raise if run.nil?

      warn "transfer: stopped; transfer resume #{run} goes on"
      finish(INTERRUPTED)
    rescue WorkerCrashed, OutOfMemory
      warn "transfer: what was reached is kept, transfer resume #{run} goes on" if run
      raise
    end

    def timed
      started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      result = yield
      [result, (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started).round(2)]
    end

    # The keywords of `Transfer.train`.
    def recipe(data)
      { backbone: options[:backbone], data: source(data), columns: columns(data), text:, head:, augment: list(:augment),
        split:, **words(WORDS), **training }.compact
    end

    def split
      some(test: value(:test_size), valid: value(:valid_size), group: options[:group_column],
           near_duplicates: (false if options[:ignore_duplicates]))
    end

    def source(train)
      return train unless options[:valid] || options[:test]

      { train:, valid: options[:valid], test: options[:test] }.compact
    end

    def columns(data)
      named = some(input: one_or_more(:input_column), target: one_or_more(:target_column),
                   split: options[:split_column])
      paths = [data, *options.values_at(:valid, :test)].compact
      return named unless named && paths.all? { |path| File.directory?(path) }

      raise Thor::Error, "#{data} is a folder, which has no columns: its labels are the names of its folders"
    end

    def one_or_more(option)
      names = list(option)
      names&.one? ? names.first : names
    end

    def text = some(max_length: value(:max_length), long: options[:long_texts])

    def head
      hidden = list(:hidden)&.map { |width| number(width) }
      type = options[:head] || ("mlp" if hidden)
      words = { hidden:, dropout: value(:dropout) }.compact
      { type: type || "linear", **words } if type || words.any?
    end

    # Training words alone go to the preset's training; with fine-tuning they are steps.
    def training
      if thaws.empty? && fine_tuning.any?
        raise Thor::Error, "fine-tuning needs --unfreeze-last N, --unfreeze-all or --lora-rank N"
      end
      return words(TRAINING_WORDS) if thaws.empty?

      { steps: [{ type: "freeze" }, { type: "train", **words(TRAINING_WORDS) },
                *thaws, { type: "train", **fine_tuning }] }
    end

    def thaws
      blocks = some(last: value(:unfreeze_last), all: options[:unfreeze_all])
      lora = some(rank: value(:lora_rank))
      [blocks && { type: "unfreeze", **blocks }, lora && { type: "lora", **lora }].compact
    end

    def fine_tuning
      { epochs: value(:fine_tune_epochs), optimizer: options[:fine_tune_optimizer],
        learning_rate: value(:fine_tune_learning_rate) }.compact
    end

    def words(names) = names.to_h { |name| [name, value(name)] }.compact

    def list(option) = options[option]&.split(",")

    def value(option) = options[option].is_a?(String) ? number(options[option]) : options[option]

    # A number where the text is a decimal one. Whether it should be one is the core's business.
    def number(text)
      return text if text.match?(/x/i)

      Integer(text, 10, exception: false) || Float(text, exception: false) || text
    end

    def some(**values) = values.compact.then { |given| given unless given.empty? }

    # Found out before the work, so that none is lost.
    def can_be_saved(option, example)
      file = options[option]
      raise Thor::Error, "--#{option} needs the name of a file, such as #{example}" if file.empty?

      obstacle = obstacle_to(file, example)
      raise ConfigurationError, "#{file} #{obstacle}" if obstacle

      file
    end

    def obstacle_to(file, example)
      folder = File.dirname(File.expand_path(file))
      if File.directory?(file) then "is a folder; name a file, such as #{File.join(file, example)}"
      elsif File.exist?(file) && !File.file?(file) then "can't be written: it is not a regular file"
      elsif File.exist?(file) && !options[:force] then "is there already; --force overwrites it"
      elsif !File.directory?(folder) then "can't be written: there is no folder #{folder}"
      elsif !File.writable?(folder) then "can't be written: no permission to write into #{folder}"
      end
    end
  end
end
