# frozen_string_literal: true

module Transfer
  module Bridge
    # Delays the start of a worker after repeated crashes: from the third crash in a row on, without a response between
    # them and within a minute of each other, the next start is delayed, longer after each crash.
    class Backoff
      FREE_CRASHES = 3
      WINDOW_S = 60
      DELAYS_S = [0.5, 1, 2, 4, 8, 16, 30].freeze
      private_constant :FREE_CRASHES, :WINDOW_S

      # @return [Integer] crashes so far
      attr_reader :total

      def initialize
        @mutex = Mutex.new
        @in_a_row = 0
        @total = 0
      end

      # @return [self]
      def crashed(now: self.now)
        @mutex.synchronize do
          @in_a_row = 0 if expired?(now)
          @in_a_row += 1
          @total += 1
          @last = now
        end
        self
      end

      # To be called after a response.
      def reset = @in_a_row = 0

      # @return [Numeric] seconds by which the next start is delayed
      def delay(now: self.now)
        @in_a_row < FREE_CRASHES || expired?(now) ? 0 : DELAYS_S[@in_a_row - FREE_CRASHES] || DELAYS_S.last
      end

      # @return [String, nil] for the error message of a crash
      def note = delay.zero? ? nil : "crash #{@in_a_row} in a row, the next start waits #{delay} s"

      private

      def expired?(now) = @last && now - @last > WINDOW_S

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
