# frozen_string_literal: true

module Transfer
  module Bridge
    # Bytes in the pieces in which they arrive, until they are frames.
    class Inbox
      def initialize
        @bytes = String.new(encoding: Encoding::BINARY)
      end

      # @param piece [String] is emptied
      def <<(piece)
        # Nothing between these two lets a signal's trap run: no byte is lost or counted twice.
        @bytes << piece
        piece.clear
        self
      end

      # @return [String, nil] the content of the next frame, nil if it is not all here yet
      # @raise [ProtocolError] if its length is none
      def take
        return if @bytes.bytesize < Frame::HEADER_BYTES

        length = Frame.length(@bytes)
        return if @bytes.bytesize < Frame::HEADER_BYTES + length

        content = @bytes.byteslice(Frame::HEADER_BYTES, length)
        @bytes = @bytes.byteslice(Frame::HEADER_BYTES + length..)
        content
      end

      # The stream is at its end.
      # @raise [Frame::CutShort] if that was no place to end
      def close
        case @bytes.bytesize
        when 0 then return
        when 1...Frame::HEADER_BYTES then raise Frame::CutShort, "the stream ended inside the length of a frame"
        end

        came = @bytes.bytesize - Frame::HEADER_BYTES
        raise Frame::CutShort,
              "the stream ended after #{came} of the #{@bytes.unpack1('N')} bytes of a frame"
      end
    end
  end
end
