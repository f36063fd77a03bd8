# frozen_string_literal: true

module Transfer
  module Prediction
    # A number, or several by name for a model with several outputs.
    class Regression < ::Data.define(:value, :values, :interval, :intervals, :novelty, :unknown)
      include Prediction

      # @!attribute [r] value
      #   @return [Float, nil] the number; nil with several outputs
      # @!attribute [r] values
      #   @return [Hash{String => Float}, nil] the numbers by name; nil with one output
      # @!attribute [r] interval
      #   @return [Array(Float, Float), nil] the bounds that contain the true number with the coverage `level:`
      # @!attribute [r] intervals
      #   @return [Hash{String => Array(Float, Float)}, nil] the bounds by name, with several outputs
      # @!attribute [r] novelty
      #   @return [Float, nil] 0 to 1, the share of inputs like the training examples that are nearer to these; nil if
      #     the model has no detector
      # @!attribute [r] unknown
      #   @return [Boolean, nil] see {#unknown?}

      # @param value [Float, nil]
      # @param values [Hash{String => Float}, nil]
      # @param interval [Array(Float, Float), nil]
      # @param intervals [Hash{String => Array(Float, Float)}, nil]
      # @param detected [Hash{Symbol => Object}] `novelty` and `unknown`
      def initialize(value: nil, values: nil, interval: nil, intervals: nil, **detected)
        super(value:, values:, interval:, intervals:, novelty: detected[:novelty], unknown: detected[:unknown])
      end

      def to_s = (value || values).to_s

      private

      def summary = (value || values).inspect
    end
  end
end
