# frozen_string_literal: true

module Transfer
  module Telemetry
    # The calls of one method.
    class Calls
      # How many durations and sizes are kept for the percentiles.
      KEPT = 1000
      PERCENTILES = { p50: 0.5, p90: 0.9, p99: 0.99 }.freeze

      def initialize
        @count = @failed = 0
        @seconds = []
        @inputs = []
      end

      # @param inputs [Integer, nil]
      def add(seconds, inputs, failed:)
        @seconds[@count % KEPT] = seconds
        @inputs[@count % KEPT] = inputs if inputs
        @count += 1
        @failed += 1 if failed
      end

      # @return [Hash{Symbol => Object}] `count` and `failed` of all; of the last thousand the percentiles of
      #   `seconds`, and of `inputs` where there are some
      def to_h
        inputs = @inputs.compact
        { count: @count, failed: @failed, seconds: percentiles(@seconds),
          inputs: (percentiles(inputs) unless inputs.empty?) }.compact
      end

      private

      def percentiles(values)
        sorted = values.sort
        { **PERCENTILES.transform_values { |share| sorted[(sorted.size * share).ceil - 1] }, max: sorted.last }
      end
    end
    private_constant :Calls
  end
end
