# frozen_string_literal: true

module Transfer
  module Doctor
    # The worker that predicts: whether it is shared, and how it is.
    module Serving
      NAME = "bridge: serving"
      private_constant :NAME

      class << self
        # @return [Check]
        def check
          seen = Bridge::SharedWorker.snapshot
          Check.new(NAME, true, seen ? describe(seen) : none, nil)
        rescue TimeoutError
          Check.new(NAME, false, "the shared worker does not answer", "transfer worker stop")
        rescue ConfigurationError => error
          Check.new(NAME, !Transfer.config.shared_worker, error.message, nil)
        end

        private

        def none
          return "each process has a worker of its own" unless Transfer.config.shared_worker

          "no shared worker runs; the next call starts one"
        end

        def describe(seen)
          serving = seen.fetch(:serving)
          models = serving[:models]
          ["shared worker #{seen[:pid]}", Amounts.size(seen[:memory]),
           "models in memory: #{models[:count]} (#{Amounts.size(models[:bytes])})",
           "requests in hand: #{serving[:open]}", "an empty call takes #{Amounts.milliseconds(seen[:seconds])}",
           *serving[:seconds]&.then { |seconds| answers(*seconds.values_at(:p50, :p99)) }].join(", ")
        end

        def answers(half, nearly_all)
          "half of the answers #{Amounts.milliseconds(half)}, 99 % #{Amounts.milliseconds(nearly_all)}"
        end
      end
    end
  end
end
