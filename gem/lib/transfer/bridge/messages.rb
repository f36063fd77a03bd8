# frozen_string_literal: true

module Transfer
  module Bridge
    # A wire as messages go through it, each a line of the trace.
    class Messages
      # @param wire [Wire]
      # @param trace [Trace, nil]
      # @yieldreturn [Integer, nil] the process at the other end
      def initialize(wire, trace, &pid)
        @wire = wire
        @trace = trace
        @pid = pid
      end

      # (see Wire#write)
      def write(message)
        frame = Frame.encode(message.to_wire)
        @trace&.line(:sent, message, frame.bytesize - Frame::HEADER_BYTES, @pid.call)
        @wire.write(frame)
      end

      # A reader that runs out of time, or in which a signal's trap raises, leaves what it has begun to the next.
      # @param limit (see Wire#read)
      # @return [Message::Request, Message::Response, Message::Notification, nil] nil if none came in time
      # @raise (see Wire#read)
      def read(limit = nil)
        @decoder ||= Frame::Decoder.new(@wire.read(limit) || return)
        value, = @decoder.value(limit) || return
        message = Message.parse(value)
        size = @decoder.content.bytesize
        @decoder = nil
        @trace&.line(:received, message, size, @pid.call)
        message
      end
    end
  end
end
