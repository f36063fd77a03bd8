# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Model#select}: inputs to label next, the most useful first.
  #
  # @example
  #   model.select("new/", count: 50).each { |one| puts one.input }
  class Selection
    include ValueObject
    include Enumerable

    # A selected input: the path of an image, the text or the row; its place in the data, from 0; and the value by which
    # the method selected it, the higher the more useful.
    Selected = Data.define(:input, :index, :score)

    # @return [Symbol] the method that selected them
    attr_reader :method
    # @return [Integer] inputs without copies and near-duplicates of each other and of labelled ones
    attr_reader :considered
    # @return [Array<Selected>]
    attr_reader :inputs

    # @param plain [Hash{String => Object}] as the worker sends it
    # @api private
    def initialize(plain)
      @method = plain["method"].to_sym
      @considered = plain["considered"]
      @inputs = plain["inputs"].map { |one| Selected.new(**one.transform_keys(&:to_sym)) }.freeze
      freeze
    end

    # @yieldparam selected [Selected]
    def each(&) = inputs.each(&)

    # @return [Hash{Symbol => Object}]
    def to_h = { method:, considered:, inputs: inputs.map(&:to_h) }

    def inspect = "#<#{self.class} of #{inputs.size} of #{considered} inputs by #{method}>"
  end
end
