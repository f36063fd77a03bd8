# frozen_string_literal: true

module Transfer
  # What a model says about one image.
  #
  # A classification has {#label}, {#score} and {#scores}; a regression has {#value} or, with several outputs,
  # {#values}. The others are nil.
  class Prediction
    # @return [String, nil] the most probable label
    attr_reader :label
    # @return [Float, nil] its probability
    attr_reader :score
    # @return [Hash{String => Float}, nil] the probability of every label, highest first
    attr_reader :scores
    # @return [Float, nil] the number, of a regression with one output
    attr_reader :value
    # @return [Hash{String => Float}, nil] the numbers by name, of a regression with several outputs
    attr_reader :values

    # @param plain [Hash{String => Object}] as the worker sends it
    def initialize(plain)
      @label, @score, @scores, @value, @values = plain.values_at("label", "score", "scores", "value", "values")
      [@label, @scores, @values].each(&:freeze)
      freeze
    end

    # @return [Hash{String => Float}] the `count` most probable labels
    def top(count) = (scores || {}).first(count).to_h

    # @return [Hash{Symbol => Object}] what there is of label, score, scores, value and values
    def to_h = { label:, score:, scores:, value:, values: }.compact

    def ==(other) = other.is_a?(Prediction) && to_h == other.to_h
    alias eql? ==
    def hash = to_h.hash

    def to_s = (label || value || values).to_s

    def inspect
      said = label ? "#{label} #{format('%.3f', score)}" : (value || values).inspect
      "#<Transfer::Prediction #{said}>"
    end
  end
end
