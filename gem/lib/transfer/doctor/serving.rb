# frozen_string_literal: true

module Transfer
  module Doctor
    # Checks the shared worker.
    module Serving
      NAME = "bridge: serving"
      private_constant :NAME

      class << self
        # @return [Check]
        def check
          snapshot = Bridge::SharedWorker.snapshot
          Check.new(NAME, true, snapshot ? describe(snapshot) : none, nil)
        rescue TimeoutError
          Check.new(NAME, false, "the shared worker does not respond", "transfer worker stop")
        rescue ConfigurationError => error
          Check.new(NAME, !Transfer.config.shared_worker, error.message, nil)
        end

        private

        def none
          return "each process has a worker of its own" unless Transfer.config.shared_worker

          "no shared worker runs; the next call starts one"
        end

        def describe(snapshot)
          serving = snapshot.fetch(:serving)
          models = serving[:models]
          ["shared worker #{snapshot[:pid]}", Amounts.size(snapshot[:memory]),
           "models in memory: #{models[:count]} (#{Amounts.size(models[:bytes])})",
           "open requests: #{serving[:open]}", "round trip: #{Amounts.milliseconds(snapshot[:seconds])}",
           *serving[:seconds]&.then { |seconds| response_times(*seconds.values_at(:p50, :p99)) }].join(", ")
        end

        def response_times(median, p99)
          "median response time #{Amounts.milliseconds(median)}, 99th percentile #{Amounts.milliseconds(p99)}"
        end
      end
    end
  end
end
