# frozen_string_literal: true

module Transfer
  module Bridge
    # How long a worker is kept: idle, alive at all, for how many calls, and how big it may become. nil: no limit.
    class Limits < ::Data.define(:idle_stop, :max_lifetime, :max_requests, :max_memory)
      # Nothing is limited more finely.
      SHORTEST_PAUSE_S = 0.05
      MEMORY_EVERY_S = 1
      # A worker that has just started is not replaced before the call that it was started for can have come.
      FIRST_CALL_S = 1

      def initialize(idle_stop: nil, max_lifetime: nil, max_requests: nil, max_memory: nil) = super

      # @param idle_s [Float] seconds since the last answer, 0 while calls are in flight
      # @param age_s [Float] seconds since its start
      # @param requests [Integer] calls so far
      # @param pid [Integer, nil]
      # @return [String, nil] why it is to be replaced
      def reason(idle_s:, age_s:, requests:, pid:)
        excess(idle_s, age_s, requests, pid) unless requests.zero? && idle_s < FIRST_CALL_S
      end

      # @return [Numeric, nil] seconds until it is worth to ask again
      def pause(idle_s:, age_s:)
        rest = [idle_stop && (idle_stop - idle_s), max_lifetime && (max_lifetime - age_s)].compact
        rest = rest.map { |seconds| [seconds, SHORTEST_PAUSE_S].max }
        [*rest, (MEMORY_EVERY_S if max_memory)].compact.min
      end

      private

      def excess(idle_s, age_s, requests, pid)
        return "idle for #{idle_s.round} s" if idle_stop && idle_s >= idle_stop
        return "older than #{max_lifetime} s" if max_lifetime && age_s >= max_lifetime
        return "#{requests} calls" if max_requests && requests >= max_requests

        too_big(pid) if max_memory && pid
      end

      def too_big(pid)
        memory = Memory.resident(pid)
        "#{memory} bytes of memory" if memory && memory > max_memory
      end
    end
  end
end
