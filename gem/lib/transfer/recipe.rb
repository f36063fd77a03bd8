# frozen_string_literal: true

require "pathname"
require_relative "recipe/draft"
require_relative "recipe/words"
require_relative "recipe/block"
require_relative "recipe/files"

module Transfer
  # Everything that decides a training, as frozen plain data. It is written as keywords, as a block or as a
  # class body, and the three give the same hash. It knows the words, not what they mean: the training core
  # judges the values, and {#explain} finds the line of the user's code behind each complaint.
  #
  # @example A recipe with a name, for Rails
  #   class SignModel < Transfer::Recipe
  #     backbone "mobilenet_v2"
  #     head :linear
  #     data "photos/"
  #   end
  #   model = SignModel.train
  class Recipe
    # The recipe's words. Any other keyword is a training word (`epochs:`), which the core judges.
    WORDS = %w[
      data backbone weights trust task columns text split on_bad_input augment head freeze train unfreeze finetune
      seed device precision preset on
    ].freeze

    # Keys that may be given as keywords, for instance from a saved recipe, but are no words of a block.
    PLAIN_KEYS = %w[version steps].freeze
    # Words that are followed by several values; of a keyword they are a list.
    LISTS = %w[augment head freeze unfreeze finetune].freeze
    # Those of them that take one name.
    NAMED = %w[head finetune].freeze
    private_constant :PLAIN_KEYS, :LISTS, :NAMED

    extend Words

    class << self
      # @return [Model] trained by the recipe of this class; keywords and block say what differs
      # @overload train(**words, &block)
      # Inside the class body it is the step `train epochs: 5`.
      def train(quiet: nil, **words, &block)
        return super(**words) if body_open?

        Job.new(build(words, &block), quiet:).perform
      end

      # @return [Job] the same, running in the background
      def start(quiet: nil, **words, &block) = Job.new(build(words, &block), quiet:).start

      # @return [Hash] the wire form
      def to_h = build.to_h

      # @param words [Hash] keywords of `Transfer.train`
      # @return [Recipe]
      def build(words = {}, &block)
        draft = Draft.new(self.draft)
        draft.locations[""] = Backtrace.user_location
        read_keywords(draft, words)
        read_block(draft, block) if block
        draft.check_group
        new(draft)
      end

      private :new

      private

      def draft
        @draft ||= Draft.new(superclass.respond_to?(:build) ? superclass.send(:draft) : nil)
      end

      def read_block(draft, block)
        reader = Block.new(draft)
        block.arity.positive? ? block.call(reader) : reader.instance_exec(reader, &block)
      end

      def read_keywords(draft, words)
        reader = Block.new(draft)
        training = words.reject { |word, _| WORDS.include?(word.to_s) || PLAIN_KEYS.include?(word.to_s) }
        words.except(*training.keys).each { |word, value| read_keyword(draft, reader, word.to_s, value) }
        draft.merge("train", training) unless training.empty?
      end

      def read_keyword(draft, reader, word, value)
        case word
        when "on" then listen(draft, value)
        when "train" then draft.merge("train", options(draft, value))
        when *PLAIN_KEYS then draft.set(word, value)
        when *LISTS then say(draft, reader, word, value.is_a?(Array) ? value : [value])
        else reader.public_send(word, value)
        end
      end

      def listen(draft, blocks)
        unless blocks.is_a?(Hash) && blocks.each_value.all? { |block| block.respond_to?(:to_proc) }
          draft.reject("on", "takes a block for each event: { epoch: ->(epoch) { … } }, got #{blocks.inspect}")
        end
        blocks.each { |event, block| draft.listen(event, block.to_proc) }
      end

      def options(draft, value)
        value.is_a?(Hash) ? value : draft.reject("train", "takes options such as { epochs: 5 }, got #{value.inspect}")
      end

      # A keyword's value is what the word would be followed by in a block, a Hash at the end its options.
      def say(draft, reader, word, values)
        *names, options = values.last.is_a?(Hash) ? values : [*values, {}]
        surplus = NAMED.include?(word) && names.size > 1
        draft.reject(word, "takes a name and options, got #{values.inspect}") if surplus
        reader.public_send(word, *names, **options)
      end

      def method_missing(name, ...)
        body_open? ? draft.reject("", Suggestion.unknown("word", name, WORDS)) : super
      end

      def respond_to_missing?(*) = false

      # Where `Class.new` stands, which makes a class before it runs the body.
      def inherited(child)
        super
        child.instance_variable_set(:@maker, caller_locations.find { |frame| frame.base_label == "initialize" }.to_s)
      end

      # `train` names a step and the verb. The body of a class is running as long as it is on the stack: under
      # its own name, or as the block of `Class.new`, while the class has none.
      def body_open?
        label = "<class:#{name.split('::').last}>" if name
        caller_locations.any? { |frame| name ? frame.label.include?(label) : frame.to_s == @maker }
      end
    end

    # @return [Object] the source of the examples as the user gave it
    attr_reader :data
    # @return [Proc, nil] what says the group of a row
    # @api private
    attr_reader :group
    # @return [Array<Array(Symbol, Proc)>] event and block
    attr_reader :callbacks
    # @return [Hash{String => Object}] the wire form, frozen; rows of an Enumerable stand as `{"stream" => "rows"}`
    attr_reader :to_h

    def initialize(draft)
      @data = draft.data
      @callbacks = draft.callbacks.dup.freeze
      @group = draft.group
      @locations = draft.locations.dup.freeze
      source = @data.nil? ? {} : { "data" => Source.outline(@data) }
      @to_h = deep_freeze({ **source, **draft.words })
    end

    # @return [Hash{String => Object}] the same for a worker, which may stand in another folder
    # @api private
    def wire = { **to_h, **Files.absolute(to_h) }

    # @param error [RecipeError] from the training core
    # @return [RecipeError] the same, pointing at the user's lines
    def explain(error)
      RecipeError.new(error.problems.map do |problem|
        problem.with(message: correct(problem.path, problem.message), location: locate(problem.path))
      end)
    end

    def ==(other) = other.is_a?(Recipe) && to_h == other.to_h
    alias eql? ==
    def hash = to_h.hash

    private

    # The line of the longest known beginning of the path.
    def locate(path)
      until path.empty?
        return @locations[path] if @locations.key?(path)

        path = path.sub(/(\[\d+\]|\.?[^.\[\]]+)\z/, "")
      end
      @locations[""]
    end

    # A keyword that is no word of the recipe was taken for a training word. If the core does not know it
    # either, it may be a misspelt word of the recipe (`bakbone:`).
    def correct(path, message)
      word = path[/\Atrain\.(\w+)\z/, 1]
      return message unless word && message.start_with?("unknown word") && Suggestion.nearest(word, WORDS)

      Suggestion.unknown("word", word, WORDS)
    end

    def deep_freeze(value)
      case value
      when Hash then value.transform_values { |inner| deep_freeze(inner) }.freeze
      when Array then value.map { |inner| deep_freeze(inner) }.freeze
      else value.dup.freeze
      end
    end
  end
end
