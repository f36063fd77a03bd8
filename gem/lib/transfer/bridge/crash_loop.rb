# frozen_string_literal: true

module Transfer
  module Bridge
    # Crashes in a row, with no answered call between them. From the third within a minute of each other on, the
    # next start within a minute waits: a worker that can't live must not keep the machine busy with being born.
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

      # @return [self]
      def crashed(now: self.now)
        @mutex.synchronize do
          @in_a_row = 0 if past?(now)
          @in_a_row += 1
          @total += 1
          @last = now
        end
        self
      end

      # A call was answered.
      def over = @in_a_row = 0

      # @return [Numeric] seconds that the next start waits
      def pause(now: self.now)
        @in_a_row < FREE || past?(now) ? 0 : PAUSES_S[@in_a_row - FREE] || PAUSES_S.last
      end

      # @return [String, nil] for the error of a crash
      def note = pause.zero? ? nil : "crash #{@in_a_row} in a row, the next start waits #{pause} s"

      private

      def past?(now) = @last && now - @last > WITHIN_S

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
