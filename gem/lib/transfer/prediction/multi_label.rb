# frozen_string_literal: true

module Transfer
  module Prediction
    # Any number of labels.
    class MultiLabel < ::Data.define(:labels, :scores)
      include Prediction

      # @!attribute [r] labels
      #   @return [Array<String>] the labels whose probability reaches their threshold, highest first; may be empty
      # @!attribute [r] scores
      #   @return [Hash{String => Float}] the probability of every label, highest first

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
