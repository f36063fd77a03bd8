# frozen_string_literal: true

module Transfer
  class Source
    # The call that asked for rows has ended.
    Left = Class.new(Error)

    # Hands out rows, as many as are asked for and not one more. The iteration runs in a thread of its own, which
    # sleeps inside `each` between two requests: a slow source holds up nobody, nothing is read ahead, and leaving
    # `each` early runs the source's own `ensure`.
    class Pump
      def initialize(rows)
        @rows = rows
        @requests = Queue.new
      end

      # Called by one thread only, the connection's reader. Every request gets one answer, sooner or later.
      # @yieldparam rows [Array<Hash>]
      # @yieldparam done [Boolean] true if there will be no more
      # @yieldparam error [Exception, nil] what the source raised, or {Left}
      # @param modality [String] what the rows' inputs are, the same in every request
      def ask(max, modality = "image", &answer)
        @modality ||= modality
        @requests << [max, answer]
        @thread ||= Thread.new { interruptible { run } }.tap { |thread| thread.name = "transfer-rows" }
      rescue ClosedQueueError
        answer.call([], true, Left.new)
      end

      # The call is over. A thread that waits for a request leaves by itself; one that is busy in the source is
      # ended there.
      def stop
        idle = @requests.num_waiting.positive?
        @requests.close
        @thread&.kill unless idle
      end

      private

      # A thread inherits that interrupts are off, as they are for whoever reads the socket.
      def interruptible(&) = Thread.handle_interrupt(Object => :immediate, &)

      def run
        Executor.wrap { hand_out } if next_request
      rescue Exception => error # rubocop:disable Lint/RescueException -- it is the caller's: they get it back
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

      # Forgets the request before it is answered: a thread that is ended in between answers once at most.
      def answer(rows, done, error = nil)
        answer = @answer
        @answer = nil
        answer&.call(rows, done, error)
      end
    end
    private_constant :Pump
  end
end
