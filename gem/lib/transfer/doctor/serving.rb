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
          seen = Bridge::Shared.look
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
          ["shared worker #{seen[:pid]}", megabytes(seen[:memory]),
           "models in memory: #{models[:count]} (#{megabytes(models[:bytes])})", "requests in hand: #{serving[:open]}",
           format("an empty call takes %.2f ms", seen[:seconds] * 1000), answers(serving[:seconds])].compact.join(", ")
        end

        def answers(seconds)
          format("half of the answers %.1f ms, 99 %% %.1f ms", seconds[:p50] * 1000, seconds[:p99] * 1000) if seconds
        end

        def megabytes(bytes) = format("%.0f MB", bytes / 1e6)
      end
    end
  end
end
