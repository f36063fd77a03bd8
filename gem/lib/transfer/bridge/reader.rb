# frozen_string_literal: true

module Transfer
  module Bridge
    # Reads messages from the connection, one thread at a time for all: a caller that waits reads its own response,
    # which saves two thread switches; the supervisor thread reads when responses are due and no caller does.
    class Reader
      # @return [ProtocolError, nil] the error that has ended the stream
      attr_reader :error

      # @param connection [Connection]
      # @param due [#call] returns true if responses are due
      # @yieldparam message [Message::Request, Message::Response, Message::Notification] received
      def initialize(connection, due:, &receive)
        @connection = connection
        @due = due
        @receive = receive
        @mutex = Mutex.new
        @wakeup = ConditionVariable.new
        @held = false
        @woken = false
        @ended = false
      end

      # @return [Boolean] true at the end of the stream
      def ended? = @ended

      # Reads until the block returns true, the deadline passes, or the stream ends. Does nothing if another thread
      # reads: that thread, or the supervisor after it, receives what this one waits for.
      # @param deadline [Float, nil] monotonic time
      def read(deadline = nil)
        try_lock do
          until @ended || yield
            message = @connection.read(deadline) or break
            @receive.call(message)
          end
        rescue Framing::Truncated, IOError, SystemCallError # the worker has ended
          @ended = true
        rescue ProtocolError => error
          @error = error
          @ended = true
        end
      end

      # Reads what the worker has sent before its end; another thread that reads does that as well.
      def drain
        @connection.shutdown
        until ended?
          read { false }
          wait_until_due(0.01) unless ended?
        end
      end

      # Closes the connection, unless another thread reads: closing it would raise there.
      def close = try_lock { @connection.close }

      # For the supervisor: sleeps until responses are due that no thread reads, {#wake}, or the timeout.
      # @param seconds [Numeric, nil]
      def wait_until_due(seconds) = wait(seconds) { !@held && @due.call }

      # For the supervisor before there are responses: sleeps until {#wake}, or the timeout.
      # @param seconds [Numeric]
      def sleep(seconds) = wait(seconds) { false }

      # Wakes the supervisor.
      def wake
        @mutex.synchronize do
          @woken = true
          @wakeup.signal
        end
      end

      private

      # Yields with interrupts off, unless another thread has the lock.
      def try_lock
        mine = false
        Thread.handle_interrupt(Object => :never) do
          @mutex.synchronize { mine = @held = true unless @held }
          yield if mine
        ensure
          unlock if mine
        end
      end

      # A signal's trap may raise in the main thread wherever it waits, here for the mutex.
      def unlock
        @held = false
        @mutex.synchronize { @wakeup.signal if @due.call }
      end

      def wait(seconds)
        @mutex.synchronize do
          @wakeup.wait(@mutex, seconds) unless @woken || yield
          @woken = false
        end
      end
    end
  end
end
