# frozen_string_literal: true

module Transfer
  module Bridge
    # Whether a worker still does anything: when a call took too long, it is asked for a sign of life. A worker that
    # computes gives one at once. One that gives none is killed by the connection's keeper.
    class Doubt
      QUESTION = "ping"
      # Seconds that it has to answer.
      PATIENCE_S = 10
      # Its answer may have come while this process stood still: so long it is read for before it is judged.
      SHORTEST_PATIENCE_S = 0.05

      # @return [String, nil] why it was killed
      attr_reader :verdict

      # @param child [Child, Shared::Client] a guest in our own process can't be killed, and is not doubted
      # @yieldreturn [Call, nil] the question, sent; nil if there are to be no more calls
      def initialize(child, &ask)
        @child = child
        @ask = ask
        @mutex = Mutex.new
      end

      # A call took too long.
      def arise
        @mutex.synchronize do
          next if open? || !@child.respond_to?(:kill)

          @limit = now + PATIENCE_S
          @question = @ask.call
        end
      end

      # Waits until the worker has answered, or has ended.
      def settle = open? && @question.wait

      # @return [Numeric, nil] seconds until it is judged
      def pause = ([@limit - now, SHORTEST_PATIENCE_S].max if open? && !verdict)

      def overdue? = open? && now > @limit

      # Kills it, if it has still not answered.
      # @return [Boolean] true if it was killed
      def judge
        return false if !open? || verdict

        @verdict = "it gave no sign of life for #{PATIENCE_S} s and was killed"
        Telemetry.event("event" => "warning", "message" => "the worker (pid #{@child.pid}) hangs: #{verdict}")
        @child.kill
        true
      end

      # It has not even greeted us.
      # @param waited [Numeric] for so many seconds
      def condemn(waited) = waited >= PATIENCE_S && @child.respond_to?(:kill) && @child.kill

      private

      def open? = !(@question.nil? || @question.done?)

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
