# frozen_string_literal: true

module Transfer
  module Bridge
    # Crashes in a row, with no answered call between them. From the third within a minute of each other on, the
    # next start waits: a worker that can't live must not keep the machine busy with being born.
    class CrashLoop
      FREE = 3
      WITHIN_S = 60
      PAUSES_S = [0.5, 1, 2, 4, 8, 16, 30].freeze

      def initialize
        @mutex = Mutex.new
        @in_a_row = 0
        @total = 0
      end

      # @return [Integer] crashes so far
      attr_reader :total

      # @param answered [Boolean] true if the worker had answered a call before
      # @return [self]
      def crashed(answered:, now: Process.clock_gettime(Process::CLOCK_MONOTONIC))
        @mutex.synchronize do
          @in_a_row = 0 if answered || (@last && now - @last > WITHIN_S)
          @in_a_row += 1
          @total += 1
          @last = now
        end
        self
      end

      # @return [Numeric] seconds that the next start waits
      def pause = @in_a_row < FREE ? 0 : PAUSES_S[@in_a_row - FREE] || PAUSES_S.last

      # @return [String, nil] for the error of a crash
      def note = pause.zero? ? nil : "crash #{@in_a_row} in a row, the next start waits #{pause} s"
    end
  end
end
