# frozen_string_literal: true

module Transfer
  class Source
    # The call that requested rows has ended.
    Left = Class.new(Error)

    # Yields as many rows as the worker requests. The iteration runs in a thread of its own, which sleeps inside `each`
    # between two requests: a slow source blocks no other thread, nothing is read ahead, and leaving `each` early runs
    # the source's own `ensure`.
    class Pump
      def initialize(rows)
        @rows = rows
        @requests = Queue.new
      end

      # Called by one thread only, the connection's reader. Every request gets exactly one reply.
      # @yieldparam rows [Array<Hash>]
      # @yieldparam done [Boolean] true after the last row
      # @yieldparam error [Exception, nil] raised by the source, or {Left}
      # @param modality [String] what the rows' inputs are, the same in every request
      def ask(max, modality = "image", &answer)
        @modality ||= modality
        @requests << [max, answer]
        @thread ||= Thread.new { interruptible { run } }.tap { |thread| thread.name = "transfer-rows" }
      rescue ClosedQueueError
        answer.call([], true, Left.new)
      end

      # Ends the stream after its call. A thread that waits for a request ends by itself; a thread that runs in the
      # source is killed.
      def stop
        idle = @requests.num_waiting.positive?
        @requests.close
        @thread&.kill unless idle
      end

      private

      # A thread inherits the disabled interrupts of the thread that reads the socket.
      def interruptible(&) = Thread.handle_interrupt(Object => :immediate, &)

      def run
        Executor.wrap { hand_out } if next_request
      rescue Exception => error # rubocop:disable Lint/RescueException -- passed to the caller
        answer([], true, error)
      ensure
        answer([], true, Left.new)
        answer([], true, Left.new) while next_request(wait: false)
      end

      def hand_out
        @rows.each(@modality) do |row|
          Executor.permit_reload { nil } # between two rows of a slow source
          @batch << row
          @bytes += Input.weight(row["input"])
          next unless full?

          answer(@batch, false)
          break unless next_request
        end
        answer(@batch, true)
        answer([], true) while next_request
      end

      def next_request(wait: true)
        @batch = []
        @bytes = 0
        @max, @answer = Executor.permit_reload { @requests.pop(timeout: wait ? nil : 0) }
      end

      def full? = @batch.size >= @max || @bytes >= Input::BATCH_BYTES

      # Forgets the request before the reply: a thread that is killed in between replies once at most.
      def answer(rows, done, error = nil)
        answer = @answer
        @answer = nil
        answer&.call(rows, done, error)
      end
    end
    private_constant :Pump
  end
end
