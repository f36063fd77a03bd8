# frozen_string_literal: true

module Transfer
  module Prediction
    # One of several classes.
    class Classification < ::Data.define(:label, :score, :scores, :set, :novelty, :unknown)
      include Prediction

      # @!attribute [r] label
      #   @return [String] the most probable class
      # @!attribute [r] score
      #   @return [Float] its probability
      # @!attribute [r] scores
      #   @return [Hash{String => Float}] the probability of every class, highest first
      # @!attribute [r] set
      #   @return [Array<String>, nil] the prediction set, highest probability first: the classes that contain the true
      #     one with the coverage `level:`
      # @!attribute [r] novelty
      #   @return [Float, nil] 0 to 1, the share of inputs like the training examples that are nearer to these; nil if
      #     the model has no detector
      # @!attribute [r] unknown
      #   @return [Boolean, nil] see {#unknown?}

      # @param label [String]
      # @param score [Float]
      # @param scores [Hash{String => Float}]
      # @param set [Array<String>, nil]
      # @param detected [Hash{Symbol => Object}] `novelty` and `unknown`
      def initialize(label:, score:, scores:, set: nil, **detected)
        super(label:, score:, scores:, set:, novelty: detected[:novelty], unknown: detected[:unknown])
      end

      # @param count [Integer]
      # @return [Hash{String => Float}] the `count` most probable classes
      def top(count) = scores.first(count).to_h

      def to_s = label

      private

      def summary = "#{label} #{format('%.3f', score)}"
    end
  end
end
