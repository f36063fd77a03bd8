# frozen_string_literal: true

require_relative "options"

module Transfer
  module CLI
    # Recipe words from the options of `transfer train` and `transfer check`. The core checks the values.
    class RecipeWords
      # Groups of {OPTIONS} for a training.
      GROUPS = ["Model file", "Data", "Network", "Training", "Fine-tuning", "Machine"].freeze
      # Words of the recipe's top level that are options of the same name.
      TOP = %i[weights trust task image_size preset budget engine storage device precision processes on_bad_input
               corrections seed regularize].freeze
      DOMAINS = %i[source unlabelled adapt weigh].freeze
      TRAINING = OPTIONS["Training"].keys.freeze
      GENERATING = %w[translation text_to_text].freeze
      private_constant :TOP, :DOMAINS, :TRAINING, :GENERATING

      # @param data [String] a path
      # @param options [Hash] of Thor
      def initialize(data, options)
        @data = data
        @options = options
      end

      # @return [Hash{Symbol => Object}] keywords of {Transfer.train}
      # @raise [Thor::Error] if options contradict each other
      def to_h
        { backbone: @options[:backbone] || ("mobilenet_v2" unless from), from:, data:, **domains, columns:, text:,
          languages:, generation:, head:, augment: list(:augment), split:, distill:,
          keep_examples: (false if @options[:without_examples]), **words(TOP), **training }.compact
      end

      # @return [Hash{Symbol => Object}, nil] names of a manifest's columns, or the extensions of paired text files
      # @raise [Thor::Error] if the data has none
      def columns
        named = some(input: one_or_more(:input_column), target: one_or_more(:target_column),
                     split: @options[:split_column], group: @options[:group_column])
        paths = [@data, *@options.values_at(:valid, :test)].compact
        return named unless named && !generating? && paths.all? { |path| File.directory?(path) }

        raise Thor::Error, "#{@data} is a directory and has no columns: its labels are the names of its directories"
      end

      private

      def data
        return @data unless @options[:valid] || @options[:test]

        { train: @data, valid: @options[:valid], test: @options[:test] }.compact
      end

      def domains = DOMAINS.to_h { |name| [name, @options[name]] }.compact

      def split
        some(test: value(:test_size), valid: value(:valid_size), group: @options[:split_group],
             near_duplicates: (false if @options[:ignore_duplicates]))
      end

      def from = @options[:from]

      def text = some(max_length: value(:max_length), long: @options[:long_texts], prefix: @options[:prefix])

      def languages = some(source: @options[:source_language], target: @options[:target_language])

      def generation = some(beams: value(:beams))

      def distill
        raise Thor::Error, "--relation needs --distill TEACHER" if @options[:relation] && !@options[:distill]

        some(from: @options[:distill], relation: list(:relation))
      end

      def head
        hidden = list(:hidden)&.map { |width| number(width) }
        words = { hidden:, dropout: value(:dropout) }.compact
        type = @options[:head] || (hidden ? "mlp" : "linear")
        { type:, **words } if @options[:head] || words.any?
      end

      # Training words alone refine the preset's training; with fine-tuning they belong to the first of two steps.
      def training
        if unfreezing.empty? && fine_tuning.any?
          raise Thor::Error, "fine-tuning needs --unfreeze-last N, --unfreeze-all or --lora-rank N"
        end
        return words(TRAINING) if unfreezing.empty?

        return decoder_steps if generating?

        { steps: [{ type: "freeze" }, { type: "train", **words(TRAINING) },
                  *unfreezing, { type: "train", **fine_tuning }] }
      end

      def generating? = GENERATING.include?(@options[:task])

      # Generated texts have no new head to train first.
      def decoder_steps
        { steps: [{ type: "freeze" }, *unfreezing, { type: "train", **words(TRAINING), **fine_tuning }] }
      end

      def unfreezing
        blocks = some(last: value(:unfreeze_last), all: @options[:unfreeze_all])
        raise Thor::Error, "--gradually needs --unfreeze-last N or --unfreeze-all" if @options[:gradually] && !blocks

        blocks &&= { **blocks, gradually: @options[:gradually] }.compact
        lora = some(rank: value(:lora_rank))
        [blocks && { type: "unfreeze", **blocks }, lora && { type: "lora", **lora }].compact
      end

      def fine_tuning
        { epochs: value(:fine_tune_epochs), optimizer: @options[:fine_tune_optimizer],
          learning_rate: value(:fine_tune_learning_rate), loss: @options[:fine_tune_loss] }.compact
      end

      def words(names) = names.to_h { |name| [name, value(name)] }.compact

      def list(option) = @options[option]&.split(",")

      def one_or_more(option)
        names = list(option)
        names&.one? ? names.first : names
      end

      def value(option) = @options[option].is_a?(String) ? number(@options[option]) : @options[option]

      # A decimal number where the text is one.
      def number(text)
        return text if text.match?(/x/i)

        Integer(text, 10, exception: false) || Float(text, exception: false) || text
      end

      def some(**values) = values.compact.then { |given| given unless given.empty? }
    end
    private_constant :RecipeWords
  end
end
