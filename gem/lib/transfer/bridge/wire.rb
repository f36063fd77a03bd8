# frozen_string_literal: true

require "io/nonblock"
require "io/wait"
require "socket"

module Transfer
  module Bridge
    # A socket as frames go through it. Any thread may write; one at a time may read.
    #
    # A thread that is interrupted (`Timeout`, `Thread#raise`, `Thread#kill`) leaves no half frame in either
    # direction: it can be while it waits, and at no other point.
    class Wire
      PIECE_BYTES = 64 * 1024

      # @param socket [UNIXSocket] from now on closed by this
      def initialize(socket)
        @socket = socket
        @socket.nonblock = true
        @inbox = Inbox.new
        @piece = String.new(capacity: PIECE_BYTES, encoding: Encoding::BINARY)
        @writing = Mutex.new
        @backlog = Queue.new
        @waiting = 0
      end

      # Sends a frame: at once while the socket takes it, else by a thread of its own; never blocks. At the end of
      # the connection it does nothing: who reads sees the end.
      def write(frame)
        Thread.handle_interrupt(Object => :never) do
          @writing.synchronize { write_in_turn(frame) }
        end
      end

      # Call it with interrupts off.
      # @param limit [Float, nil] the time (monotonic) until which it waits
      # @return [String, nil] the content of the next frame, nil if there was none in time
      # @raise [EOFError, IOError, SystemCallError] at the end of the stream
      # @raise [ProtocolError] if it ended within a frame, or if what came is no frame
      def read(limit = nil)
        until (content = @inbox.take)
          return unless arrives?(limit)

          receive
        end
        content
      end

      # What has arrived can still be read; then both ends are at the end of the stream.
      def hang_up
        @socket.shutdown
      rescue IOError, SystemCallError # already closed
        nil
      end

      # Only after the last read.
      def close
        @socket.close
        @backlog.close
        @writer&.join
      end

      # In a forked child: closing a copy tells the other end nothing.
      def abandon
        @socket.close
        @backlog.close
      end

      private

      def write_in_turn(frame)
        if @waiting.zero?
          sent = @socket.write_nonblock(frame, exception: false)
          return if sent == frame.bytesize

          frame = frame.byteslice(sent..) if sent.is_a?(Integer)
        end
        @waiting += 1
        @backlog << frame
        @writer ||= Thread.new { write_backlog }.tap { |thread| thread.name = "transfer-writer" }
      rescue IOError, SystemCallError, ClosedQueueError
        nil
      end

      def write_backlog
        while (frame = @backlog.pop)
          # A thread inherits that interrupts are off; this one must not outlive the program.
          Thread.handle_interrupt(Object => :immediate) { @socket.write(frame) }
          @writing.synchronize { @waiting -= 1 }
        end
      rescue IOError, SystemCallError
        nil
      end

      def arrives?(limit)
        seconds = limit && (limit - Process.clock_gettime(Process::CLOCK_MONOTONIC))
        return false if seconds&.negative?

        Thread.handle_interrupt(Object => :immediate) { @socket.wait_readable(seconds) }
      end

      def receive
        came = @socket.read_nonblock(PIECE_BYTES, @piece, exception: false)
        return @inbox << @piece unless came.nil?

        @inbox.close
        raise EOFError, "end of the stream"
      end
    end
  end
end
