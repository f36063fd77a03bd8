# frozen_string_literal: true

module Transfer
  class Source
    # Hands out rows, as many as are asked for and not one more. The iteration runs in a thread of its own, which
    # sleeps inside `each` between two requests: a slow source holds up nobody, nothing is read ahead, and leaving
    # `each` early runs the source's own `ensure`.
    class Pump
      def initialize(rows)
        @rows = rows
        @requests = Queue.new
      end

      # Called by one thread only, the connection's reader.
      # @yieldparam rows [Array<Hash>]
      # @yieldparam done [Boolean] true if there will be no more
      # @yieldparam error [Exception, nil] what the source raised
      def ask(max, &answer)
        @requests << [max, answer]
        @thread ||= Thread.new { run }.tap { |thread| thread.name = "transfer-rows" }
      end

      # The call is over. A thread that waits for a request leaves by itself; one that is busy in the source is
      # ended there.
      def stop
        idle = @requests.num_waiting.positive?
        @requests.close
        @thread&.kill unless idle
      end

      private

      def run
        hand_out
      rescue Exception => error # rubocop:disable Lint/RescueException -- it is the caller's: they get it back
        @answer&.call([], true, error)
      end

      def hand_out
        next_request or return
        @rows.each do |row|
          @batch << row
          @bytes += row["input"].bytesize
          next unless full?

          deliver(done: false)
          next_request or return
        end
        deliver(done: true)
        deliver(done: true) while next_request
      end

      def next_request
        @batch = []
        @bytes = 0
        @max, @answer = @requests.pop
      end

      def full? = @batch.size >= @max || @bytes >= Input::BATCH_BYTES

      def deliver(done:) = @answer.call(@batch, done, nil)
    end
    private_constant :Pump
  end
end
