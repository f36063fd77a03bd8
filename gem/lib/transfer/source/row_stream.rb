# frozen_string_literal: true

module Transfer
  class Source
    # The call that has requested rows has ended.
    StreamClosed = Class.new(Error)

    # Yields as many rows as the worker requests. The iteration runs in a thread of its own, which sleeps inside `each`
    # between two requests: a slow source blocks no other thread, nothing is read ahead, and leaving `each` early runs
    # the source's own `ensure`.
    class RowStream
      def initialize(rows)
        @rows = rows
        @requests = Queue.new
      end

      # Called by one thread only, the connection's reader. Every request gets exactly one reply.
      # @param max [Integer] rows
      # @param modality [String] of the inputs, the same in every request
      # @yieldparam rows [Array<Hash>]
      # @yieldparam done [Boolean] true if no rows follow
      # @yieldparam error [Exception, nil] raised by the source, or {StreamClosed}
      def request(max, modality = "image", &reply)
        @modality ||= modality
        @requests << [max, reply]
        @thread ||= Thread.new { interruptible { run } }.tap { |thread| thread.name = "transfer-rows" }
      rescue ClosedQueueError
        reply.call([], true, StreamClosed.new)
      end

      # The call has ended. A thread that waits for a request ends by itself; one inside the source is killed there.
      def stop
        idle = @requests.num_waiting.positive?
        @requests.close
        @thread&.kill unless idle
      end

      private

      # A thread inherits that interrupts are off, as in the thread that reads the socket.
      def interruptible(&) = Thread.handle_interrupt(Object => :immediate, &)

      def run
        Executor.wrap { serve } if next_request
      rescue Exception => error # rubocop:disable Lint/RescueException -- raised again in the caller's thread
        reply([], true, error)
      ensure
        reply([], true, StreamClosed.new)
        reply([], true, StreamClosed.new) while next_request(wait: false)
      end

      def serve
        @rows.each(@modality) do |row|
          Executor.permit_reload { nil } # between two rows of a slow source
          @batch << row
          @bytes += Input.weight(row["input"])
          next unless full?

          reply(@batch, false)
          break unless next_request
        end
        reply(@batch, true)
        reply([], true) while next_request
      end

      def next_request(wait: true)
        @batch = []
        @bytes = 0
        @max, @reply = Executor.permit_reload { @requests.pop(timeout: wait ? nil : 0) }
      end

      def full? = @batch.size >= @max || @bytes >= Input::BATCH_BYTES

      # Forgets the request before the reply: a thread that is killed in between replies once at most.
      def reply(rows, done, error = nil)
        reply = @reply
        @reply = nil
        reply&.call(rows, done, error)
      end
    end
    private_constant :RowStream
  end
end
