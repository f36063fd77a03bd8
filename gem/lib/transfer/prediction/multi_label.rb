# frozen_string_literal: true

module Transfer
  module Prediction
    # Any number of labels.
    class MultiLabel < ::Data.define(:labels, :scores, :novelty, :unknown)
      include Prediction

      # @!attribute [r] labels
      #   @return [Array<String>] the labels whose probability reaches their threshold, highest first; may be empty
      # @!attribute [r] scores
      #   @return [Hash{String => Float}] the probability of every label, highest first
      # @!attribute [r] novelty
      #   @return [Float, nil] 0 to 1, the share of inputs like the training examples that are nearer to these; nil if
      #     the model has no detector
      # @!attribute [r] unknown
      #   @return [Boolean, nil] see {#unknown?}

      # @param labels [Array<String>]
      # @param scores [Hash{String => Float}]
      # @param detected [Hash{Symbol => Object}] `novelty` and `unknown`
      def initialize(labels:, scores:, **detected)
        super(labels:, scores:, novelty: detected[:novelty], unknown: detected[:unknown])
      end

      # @param count [Integer]
      # @return [Hash{String => Float}] the `count` most probable labels
      def top(count) = scores.first(count).to_h

      def to_s = labels.join(", ")

      private

      def summary
        labels.empty? ? "no label" : labels.map { |label| "#{label} #{format('%.3f', scores[label])}" }.join(", ")
      end
    end
  end
end
