# frozen_string_literal: true

module Transfer
  # What is known about a pretrained network before it is loaded.
  class Backbone
    # @return [Hash{Symbol => Object}] all facts
    attr_reader :to_h

    # @param facts [Hash{String => Object}] as the worker sends them
    # @api private
    def initialize(facts)
      @to_h = Plain.symbolize(facts)
    end

    # @return [String]
    def name = to_h.fetch(:name)

    # @return [Array<String>] the names that `freeze` and `unfreeze` take, from the photo to the embedding
    def blocks = to_h.fetch(:blocks)

    # @return [Integer] of the published model
    def parameters = to_h.fetch(:parameters)

    # @return [Integer] how many numbers it sees in an image
    def embedding_width = to_h.fetch(:embedding_width)

    # @return [Array<Hash{Symbol => Object}>] the published weights: name, licence, source, accuracy …
    def weights = to_h.fetch(:weights)

    # @return another fact, such as `backbone[:family]`
    def [](fact) = to_h[fact]

    def ==(other) = other.is_a?(Backbone) && to_h == other.to_h
    alias eql? ==
    def hash = to_h.hash

    def to_s = name

    def inspect
      "#<Transfer::Backbone #{name}: #{blocks.size} blocks, #{(parameters / 1e6).round(1)}M parameters>"
    end
  end
end
