# frozen_string_literal: true

require "io/nonblock"
require "io/wait"
require "socket"

module Transfer
  module Bridge
    # Messages over a socket. Any thread may write; one at a time may read.
    #
    # A thread that is interrupted (`Timeout`, `Thread#raise`, `Thread#kill`) leaves no half frame in either
    # direction: it is interruptible while it waits, and at no other point.
    class Connection
      CHUNK_BYTES = 64 * 1024
      private_constant :CHUNK_BYTES

      # @param socket [UNIXSocket] closed by this object from now on
      # @param trace [Trace, nil]
      # @yieldreturn [Integer, nil] pid of the process at the other end
      def initialize(socket, trace: nil, &pid)
        @socket = socket
        @socket.nonblock = true
        @trace = trace
        @pid = pid
        @received = Framing::ReceiveBuffer.new
        @chunk = String.new(capacity: CHUNK_BYTES, encoding: Encoding::BINARY)
        @write_mutex = Mutex.new
        @backlog = Queue.new
        @backlog_size = 0
      end

      # Sends a message: immediately while the socket accepts it, otherwise from a thread; never blocks. At the end of
      # the connection it does nothing: the reader sees the end.
      # @param message [Message::Request, Message::Response, Message::Notification]
      # @raise [ProtocolError] if the message is too big or not plain data
      def write(message)
        frame = Framing.encode(message.to_wire)
        @trace&.line(:sent, message, frame.bytesize - Framing::HEADER_BYTES, @pid.call)
        Thread.handle_interrupt(Object => :never) do
          @write_mutex.synchronize { write_or_enqueue(frame) }
        end
      end

      # To be called with interrupts off. If the deadline passes, or a signal's trap raises, the next call continues
      # with the partly read message.
      # @param deadline [Float, nil] monotonic time
      # @return [Message::Request, Message::Response, Message::Notification, nil] nil if none arrived in time
      # @raise [EOFError, IOError, SystemCallError] at the end of the stream
      # @raise [ProtocolError] if it ended inside a frame, or for invalid data
      def read(deadline = nil)
        @decoder ||= Framing::Decoder.new(read_frame(deadline) || return)
        value, = @decoder.value(deadline) || return
        message = Message.parse(value)
        size = @decoder.content.bytesize
        @decoder = nil
        @trace&.line(:received, message, size, @pid.call)
        message
      end

      # Received data can still be read; then both sides see the end of the stream.
      def shutdown
        @socket.shutdown
      rescue IOError, SystemCallError # already closed
        nil
      end

      # To be called after the last read.
      def close
        @socket.close
        @backlog.close
        @writer&.join
      end

      # In a forked child: closing a copy does not affect the other side.
      def abandon
        @socket.close
        @backlog.close
      end

      private

      def write_or_enqueue(frame)
        if @backlog_size.zero?
          sent = @socket.write_nonblock(frame, exception: false)
          return if sent == frame.bytesize

          frame = frame.byteslice(sent..) if sent.is_a?(Integer)
        end
        @backlog_size += 1
        @backlog << frame
        @writer ||= Thread.new { write_backlog }.tap { |thread| thread.name = "transfer-writer" }
      rescue IOError, SystemCallError, ClosedQueueError
        nil
      end

      def write_backlog
        while (frame = @backlog.pop)
          # A thread inherits that interrupts are off; this one must not outlive the program.
          Thread.handle_interrupt(Object => :immediate) { @socket.write(frame) }
          @write_mutex.synchronize { @backlog_size -= 1 }
        end
      rescue IOError, SystemCallError
        nil
      end

      # @return [String, nil] the content of the next frame
      def read_frame(deadline)
        until (content = @received.shift)
          return unless readable?(deadline)

          receive
        end
        content
      end

      def readable?(deadline)
        seconds = deadline && (deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC))
        return false if seconds&.negative?

        Thread.handle_interrupt(Object => :immediate) { @socket.wait_readable(seconds) }
      end

      def receive
        read = @socket.read_nonblock(CHUNK_BYTES, @chunk, exception: false)
        return @received << @chunk unless read.nil?

        @received.finish
        raise EOFError, "end of the stream"
      end

      # Logs each message as one line, for `TRANSFER_DEBUG=1`:
      #
      #   transfer 4711 -> #7 predict {"model" => "m.transfer", "inputs" => ["a.jpg"]} (132 bytes)
      #   transfer 4711 <- #7 [{"label" => "cat", ...}] (88 bytes)
      class Trace
        MAX_LENGTH = 160
        ARROWS = { sent: "->", received: "<-" }.freeze
        private_constant :MAX_LENGTH, :ARROWS

        # @param logger [Logger, nil] nil: standard error
        def initialize(logger = nil)
          @logger = logger
        end

        # @param direction [Symbol] :sent or :received
        # @param message [Message::Request, Message::Response, Message::Notification]
        def line(direction, message, bytes, pid)
          content = Plain.printable(describe(message))
          text = "transfer #{pid || '(starting)'} #{ARROWS.fetch(direction)} #{content} (#{bytes} bytes)"
          @logger ? @logger.debug(text) : warn(text)
        end

        private

        def describe(message)
          case message
          when Message::Request then "##{message.id} #{message.name} #{Plain.brief(message.params, MAX_LENGTH)}"
          when Message::Response then "##{message.id} #{outcome(message)}"
          when Message::Notification then "#{message.name} #{Plain.brief(message.params, MAX_LENGTH)}"
          end
        end

        def outcome(response)
          return Plain.brief(response.result, MAX_LENGTH) unless response.error

          "#{response.error['type']}: #{Plain.brief(response.error['message'], MAX_LENGTH)}"
        end
      end
    end
  end
end
