# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Transfer.map_labels}: a table of label pairs, for the word `map_labels` of a recipe.
  class LabelMap
    include ValueObject
    include Enumerable

    # A label of the source with its number of `examples`, and the `target` label that it stands for; `affinity` is the
    # cosine of both mean embeddings. `second` is the next best label.
    Pair = ::Data.define(:source, :target, :affinity, :second, :second_affinity, :examples)

    # @return [Array<Pair>] one per label of the source
    attr_reader :pairs
    # @return [Array<String>] the labels of the target
    attr_reader :labels

    # @param pairs [Array<Pair>]
    # @param labels [Array<String>]
    # @api private
    def initialize(pairs, labels)
      @pairs = pairs.freeze
      @labels = labels.freeze
      freeze
    end

    # @yieldparam pair [Pair]
    def each(&) = pairs.each(&)

    # @return [Hash{String => String}] label of the source to label of the target, without equal ones
    def names = pairs.reject { |pair| pair.source == pair.target }.to_h { |pair| [pair.source, pair.target] }

    # Corrects the table.
    # @param names [Hash{String => String}] label of the source to label of the target
    # @return [LabelMap]
    # @raise [RecipeError] if a domain has no such label
    def with(names)
      names = names.to_h { |source, target| [source.to_s, target.to_s] }
      check(names.keys, pairs.map(&:source))
      check(names.values, labels)
      LabelMap.new(pairs.map { |pair| pair.with(target: names.fetch(pair.source, pair.target)) }, labels)
    end

    # @return [Hash{Symbol => Object}]
    def to_h = { pairs: pairs.map(&:to_h), labels: }

    # @return [String] a line per pair
    def to_s
      width = pairs.map { |pair| pair.source.size }.max.to_i
      pairs.map do |pair|
        format("%s -> %s (%.2f; %s %.2f)", pair.source.ljust(width), *pair.to_h.except(:source, :examples).values)
      end.join("\n")
    end

    def inspect = "#<#{self.class} #{pairs.size} labels>"

    private

    def check(given, known)
      unknown = given.find { |name| !known.include?(name) } or return

      message = Suggestion.unknown("label", unknown, known)
      raise RecipeError, [RecipeError::Problem.new("map_labels", message, Backtrace.user_location)]
    end
  end

  # A running search for label pairs.
  class LabelMapping < Job
    # @param recipe [Recipe]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, quiet: nil) = super(recipe, Request.new("map_labels", recipe), quiet:)

    private

    def made_of(plain)
      pairs = plain["pairs"].map { |pair| LabelMap::Pair.new(**pair.transform_keys(&:to_sym)) }
      LabelMap.new(pairs, plain["labels"])
    end
  end
  private_constant :LabelMapping
end
