# frozen_string_literal: true

require "msgpack"

module Transfer
  module Bridge
    # Frames: a length of four bytes, big-endian, followed by one MessagePack value. See docs/reference/protocol.md.
    module Framing
      MAX_BYTES = 64 * 1024 * 1024
      HEADER_BYTES = 4
      # Memory limit of a decoded tensor header: [dtype, shape, content], with 32 dimensions.
      TENSOR_BYTES = 2000

      # The stream ended inside a frame: the writer has died.
      Truncated = Class.new(ProtocolError)

      class << self
        # @return [String] the bytes of one frame
        # @raise [ProtocolError] if the value is too big or not plain data
        def encode(value)
          body = POOL.dump(value)
          check_length(body.bytesize)
          [body.bytesize].pack("N") << body
        rescue NoMethodError => error
          raise ProtocolError, "#{error.receiver.class} is no plain data and can't be sent"
        end

        # @param header [String] the first four bytes of a frame, or more
        # @return [Integer] the number of bytes that follow them
        # @raise [ProtocolError]
        def length(header)
          length = header.unpack1("N")
          raise ProtocolError, "empty frame" if length.zero?

          check_length(length)
        end

        # @param content [String] the bytes after the length
        # @return [Object] the value
        # @raise [ProtocolError] if it is not exactly one MessagePack value
        def decode(content)
          DecodedSize.check(content)
          POOL.load(content)
        rescue MessagePack::UnpackError, EOFError => error
          raise ProtocolError, "not MessagePack: #{error.class}"
        end

        private

        def check_length(length)
          return length if length <= MAX_BYTES

          raise ProtocolError, "frame of #{length} bytes, at most #{MAX_BYTES} are allowed"
        end

        def unpack_tensor(payload)
          dtype, shape, bytes = tensor_fields(payload)
          binary = bytes.is_a?(String) && bytes.encoding == Encoding::BINARY
          raise ProtocolError, "the content of a tensor is #{bytes.class}, expected bytes" unless binary

          Tensor.new(dtype:, shape:, bytes:)
        rescue ArgumentError => error
          raise ProtocolError, error.message
        end

        def unpack_block(payload)
          dtype, shape, offset = tensor_fields(payload)
          unless offset.is_a?(Integer) && !offset.negative?
            raise ProtocolError, "the offset of a tensor is #{offset.inspect[0, 40]}, expected a non-negative integer"
          end

          TensorBlock.new(dtype:, shape: Tensor.check(dtype, shape), offset:)
        rescue ArgumentError => error
          raise ProtocolError, error.message
        end

        def tensor_fields(payload)
          DecodedSize.check(payload, TENSOR_BYTES)
          fields = MessagePack.unpack(payload)
          return fields if fields.is_a?(Array) && fields.size == 3

          raise ProtocolError, "a tensor is [dtype, shape, content]"
        end
      end

      FACTORY = MessagePack::Factory.new.tap do |factory|
        factory.register_type(
          1, Tensor,
          packer: ->(tensor) { MessagePack.pack([tensor.dtype, tensor.shape, tensor.bytes.b]) },
          unpacker: method(:unpack_tensor)
        )
        factory.register_type(
          2, TensorBlock,
          packer: ->(block) { MessagePack.pack([block.dtype, block.shape, block.offset]) },
          unpacker: method(:unpack_block)
        )
      end
      # Making a packer takes longer than packing a small message.
      POOL = FACTORY.pool(4)
      private_constant :TENSOR_BYTES, :FACTORY, :POOL

      # Collects the bytes of a stream and cuts them into frames.
      class ReceiveBuffer
        def initialize
          @bytes = String.new(encoding: Encoding::BINARY)
        end

        # @param chunk [String] is emptied
        def <<(chunk)
          # A signal's trap can't run between these two lines: no byte is lost or counted twice.
          @bytes << chunk
          chunk.clear
          self
        end

        # @return [String, nil] the content of the next frame, nil if it is incomplete
        # @raise [ProtocolError] for an invalid length
        def shift
          return if @bytes.bytesize < HEADER_BYTES

          length = Framing.length(@bytes)
          return if @bytes.bytesize < HEADER_BYTES + length

          content = @bytes.byteslice(HEADER_BYTES, length)
          @bytes = @bytes.byteslice(HEADER_BYTES + length..)
          content
        end

        # To be called at the end of the stream.
        # @raise [Truncated] if bytes of an incomplete frame are left
        def finish
          case @bytes.bytesize
          when 0 then return
          when 1...HEADER_BYTES then raise Truncated, "the stream ended inside the length of a frame"
          end

          received = @bytes.bytesize - HEADER_BYTES
          raise Truncated, "the stream ended after #{received} of the #{@bytes.unpack1('N')} bytes of a frame"
        end
      end

      # Incremental decoder of a frame's content. Long content is decoded in chunks: between two chunks the reader can
      # be interrupted or reach its deadline, and the next reader continues.
      class Decoder
        CHUNK_BYTES = 64 * 1024
        # Decoded size up to which content is decoded in one step.
        SMALL_BYTES = 4 * 1024 * 1024
        private_constant :CHUNK_BYTES, :SMALL_BYTES

        # @return [String]
        attr_reader :content

        # @param content [String] the bytes after the length
        def initialize(content)
          @content = content
        end

        # To be called with interrupts off.
        # @param deadline [Float, nil] monotonic time
        # @return [Array(Object), nil] the value; nil if the deadline passed before
        # @raise [ProtocolError] (see Framing.decode)
        def value(deadline = nil)
          return [Framing.decode(content)] unless long?

          until (decoded = decode_chunk)
            return if deadline && Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

            Thread.handle_interrupt(Object => :immediate) { Thread.pass }
          end
          decoded
        end

        private

        def long?
          @long = DecodedSize.check(content) > SMALL_BYTES if @long.nil?
          @long
        end

        # A signal's trap may raise inside a chunk: then the next reader starts from the beginning.
        def decode_chunk
          unpacker, position = @state || [FACTORY.unpacker, 0]
          @state = nil
          unpacker.feed(content.byteslice(position, CHUNK_BYTES))
          [unpacker.read]
        rescue MessagePack::UnpackError => error
          raise ProtocolError, "not MessagePack: #{error.class}"
        rescue EOFError
          @state = [unpacker, position + CHUNK_BYTES]
          nil
        end
      end

      # Upper bound of the memory that MessagePack content takes once it is decoded, computed without decoding it: one
      # byte can be a map, and five bytes can claim four billion members. {Native} does the same faster, and delegates
      # every refusal to this.
      module DecodedSize
        # Memory limit of a decoded frame, without the content of text and binary.
        MAX_BYTES = 256 * 1024 * 1024
        # Bytes of memory per value: docs/reference/protocol.md, "Frames".
        SMALL = 8
        NUMBER = 40
        TEXT_OR_LIST = 72
        MAP = 200
        EXTENSION = 1024
        # The most of them per byte of a frame: an extension of three bytes.
        MOST_PER_BYTE = 342
        # First bytes of a list and of a map whose size has 32 bits. Sizes of 16 bits are harmless in a small frame.
        SUSPICIOUS = /[\xDD\xDF]/n
        # By the first byte of a value: bytes of the head, width of the big-endian size within the head, the size where
        # there is no such number, values per unit of the size (0: the size counts bytes), bytes of memory.
        KINDS = Array.new(256) { [1, 0, 0, 1, SMALL] }.tap do |kinds|
          kinds[0x80, 16] = Array.new(16) { |size| [1, 0, size, 2, MAP] }
          kinds[0x90, 16] = Array.new(16) { |size| [1, 0, size, 1, TEXT_OR_LIST] }
          kinds[0xa0, 32] = Array.new(32) { |size| [1, 0, size, 0, TEXT_OR_LIST] }
          { 0xc4 => 1, 0xc5 => 2, 0xc6 => 4, 0xd9 => 1, 0xda => 2, 0xdb => 4 }
            .each { |first, width| kinds[first] = [1 + width, width, 0, 0, TEXT_OR_LIST] }
          { 0xc7 => 1, 0xc8 => 2, 0xc9 => 4 }.each { |first, width| kinds[first] = [2 + width, width, 0, 0, EXTENSION] }
          { 0xd4 => 1, 0xd5 => 2, 0xd6 => 4, 0xd7 => 8, 0xd8 => 16 }
            .each { |first, size| kinds[first] = [2, 0, size, 0, EXTENSION] }
          { 0xca => 4, 0xcb => 8, 0xcc => 1, 0xcd => 2, 0xce => 4, 0xcf => 8, 0xd0 => 1, 0xd1 => 2, 0xd2 => 4,
            0xd3 => 8 }.each { |first, size| kinds[first] = [1, 0, size, 0, NUMBER] }
          { 0xdc => 2, 0xdd => 4 }.each { |first, width| kinds[first] = [1 + width, width, 0, 1, TEXT_OR_LIST] }
          { 0xde => 2, 0xdf => 4 }.each { |first, width| kinds[first] = [1 + width, width, 0, 2, MAP] }
        end.freeze
        TABLE = KINDS.map { |kind| kind.pack("C4S") }.join.freeze
        private_constant :SMALL, :NUMBER, :TEXT_OR_LIST, :MAP, :EXTENSION, :MOST_PER_BYTE, :SUSPICIOUS, :KINDS, :TABLE

        class << self
          # @param content [String] MessagePack
          # @param limit [Integer] bytes of memory
          # @return [Integer] upper bound of the decoded size, in bytes
          # @raise [ProtocolError] if it exceeds the limit, or if the content is not exactly one value
          def check(content, limit = MAX_BYTES)
            return Native.decoded_bytes(content, limit, TABLE) || measure(content, limit) if Transfer.native?

            most = content.bytesize * MOST_PER_BYTE
            most <= limit && !content.b.match?(SUSPICIOUS) ? most : measure(content, limit)
          end

          private

          def measure(content, limit)
            position = total = 0
            pending = 1 # values still to come, each of at least one byte
            while pending.positive?
              first = content.getbyte(position) || refuse("a value ends beyond its frame")
              head, width, size, values, cost = KINDS[first]
              size = number(content, position + 1, width) if width.positive?
              position += head
              values.zero? ? position += size : pending += values * size
              pending -= 1
              total += cost
              refuse_claim(content.bytesize - position, values * size) if pending > content.bytesize - position
              refuse("more than #{limit} bytes of memory once it is decoded") if total > limit
            end
            return total if position == content.bytesize

            refuse("#{content.bytesize - position} bytes too many in a frame")
          end

          def number(content, position, width)
            value = 0
            width.times { |i| value = (value << 8) | (content.getbyte(position + i) || 0) }
            value
          end

          def refuse_claim(bytes_left, members)
            refuse("a value ends beyond its frame") if bytes_left.negative? || members.zero?
            refuse("a list or map claims #{members} members in #{bytes_left} bytes")
          end

          def refuse(message) = raise(ProtocolError, message)
        end
      end
    end
  end
end
