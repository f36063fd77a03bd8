# frozen_string_literal: true

require "pathname"
require_relative "recipe/draft"
require_relative "recipe/words"
require_relative "recipe/step_words"
require_relative "recipe/block"
require_relative "recipe/keywords"
require_relative "recipe/files"

module Transfer
  # The whole contract of a training as frozen plain data. It is written as keywords, as a block or as a class body;
  # the three give the same data. Values are validated by the training core; {#explain} maps each of its problems to the
  # line of the user's code.
  #
  # @example A recipe with a name, for Rails
  #   class SignModel < Transfer::Recipe
  #     backbone "mobilenet_v2"
  #     data "photos/"
  #     head :linear
  #     steps do
  #       freeze :backbone
  #       train epochs: 5
  #     end
  #   end
  #   model = SignModel.train
  class Recipe
    # The recipe's words. Any other keyword is an option of `train` (`epochs:`), which the core validates.
    WORDS = %w[
      data corrections from source unlabelled map_labels distill backbone weights trust task columns text languages
      generation split on_bad_input keep_examples augment image_size head steps freeze train unfreeze finetune adapt
      weigh regularize reuse seed device precision processes preset budget engine storage on
    ].freeze

    extend Words

    class << self
      # Trains by the recipe of this class and waits for the model.
      # @param words (see Transfer.train) keywords that differ from the class
      # @param quiet (see Transfer.train)
      # @return [Model]
      # @raise (see Transfer.train)
      def train(quiet: nil, **words, &) = Job.new(build(words, &), quiet:).perform

      # Trains by the recipe of this class in the background.
      # @param (see train)
      # @return [Job]
      def train_async(quiet: nil, **words, &) = Job.new(build(words, &), quiet:).start

      # @return [Hash{Symbol => Object}] the words of this class
      def to_h = build.to_h

      # @param words [Hash] keywords of `Transfer.train`
      # @return [Recipe]
      # @raise [RecipeError] for an unknown word, or a value that is no plain data
      def build(words = {}, &block)
        draft = Draft.new(self.draft)
        draft.locations[""] = Backtrace.user_location
        Keywords.read(draft, words)
        Block.new(draft, WORDS).read(block) if block
        draft.check_group
        new(draft)
      end

      # Freezes the class itself, as `Module#freeze` does. The step of that name belongs into {steps}.
      # @raise [RecipeError] with arguments
      def freeze(*blocks, **options) = blocks.empty? && options.empty? ? super() : misplaced(:freeze)

      private :new

      private

      %i[unfreeze finetune].each { |step| define_method(step) { |*, **| misplaced(step) } }

      def draft
        @draft ||= Draft.new(superclass.respond_to?(:build) ? superclass.send(:draft) : nil)
      end

      def misplaced(step)
        draft.reject("", "#{step} is a step. Fix: write it in a block, `steps do … end`")
      end
    end

    # @return [Object] the source of the examples as the user gave it
    attr_reader :data
    # @return [Hash{String => Object}] the sources of the other domains, `"source"` and `"unlabelled"`, as the user gave
    #   them
    attr_reader :domains
    # @return [Proc, nil] returns the group of a row
    # @api private
    attr_reader :group
    # @return [Array<Array(Symbol, Proc)>] event and block
    attr_reader :callbacks
    # @return [Hash{String => Object}] the words with text as keys, frozen; rows of an Enumerable stand as
    #   `{"stream" => "rows"}`
    # @api private
    attr_reader :words

    def initialize(draft)
      @data = draft.data
      @domains = draft.domains.dup.freeze
      @callbacks = draft.callbacks.dup.freeze
      @group = draft.group
      @locations = draft.locations.dup.freeze
      sources = { "data" => @data, **@domains }.compact.transform_values { |source| Source.outline(source) }
      @words = Plain.frozen_copy({ **sources, **draft.words })
    end

    # @return [Hash{Symbol => Object}] the words, which `Transfer.train` takes as keywords. Labels, as in
    #   `class_weights`, stay text; rows of an Enumerable stand as `{stream: "rows"}`
    def to_h = Plain.symbolize(words)

    # @return [Hash{String => String}] the cluster of the settings; empty: this machine
    # @api private
    def cluster = Files.cluster

    # @return [Hash{String => Object}] the words with absolute paths, for a worker that runs in another folder
    # @api private
    def wire = { **words, **Files.absolute(words), **Files.cluster(words) }

    # @param error [RecipeError] from the training core
    # @return [RecipeError] the same, pointing at the user's lines
    def explain(error)
      RecipeError.new(error.problems.map do |problem|
        problem.with(message: correct(problem.path, problem.message), location: locate(problem.path))
      end)
    end

    def ==(other) = other.is_a?(Recipe) && words == other.words
    alias eql? ==
    def hash = words.hash

    def inspect
      shown = words.slice("backbone", "data", "task", "preset").map { |word, value| "#{word}: #{Plain.brief(value)}" }
      shown << "steps: #{words['steps'].map { |step| step['type'] }.join(', ')}" if words["steps"].is_a?(Array)
      "#<#{[self.class, shown.join(', ')].reject { |part| part.to_s.empty? }.join(' ')}>"
    end

    private

    # The line of the longest known beginning of the path.
    def locate(path)
      until path.empty?
        return @locations[path] if @locations.key?(path)

        path = path.sub(/(\[\d+\]|\.?[^.\[\]]+)\z/, "")
      end
      @locations[""]
    end

    # An unknown keyword was sent as an option of `train`. If the core rejects it, it may be a misspelt word of the
    # recipe (`bakbone:`).
    def correct(path, message)
      word = path[/\Atrain\.(\w+)\z/, 1]
      return message unless word && message.start_with?("unknown word") && Suggestion.nearest(word, WORDS)

      Suggestion.unknown("word", word, WORDS)
    end
  end
end
