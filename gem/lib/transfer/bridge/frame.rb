# frozen_string_literal: true

require "msgpack"

module Transfer
  module Bridge
    # Values as bytes: a length of four bytes, big-endian, and one MessagePack value. See docs/reference/protocol.md.
    module Frame
      MAX_BYTES = 64 * 1024 * 1024
      HEADER_BYTES = 4
      # Bytes of memory that a tensor takes besides its numbers: [dtype, shape, content], with 32 dimensions.
      TENSOR_BYTES = 2000

      # The stream ended within a frame: whoever wrote it has died.
      CutShort = Class.new(ProtocolError)

      class << self
        # @return [String] the bytes of one frame
        # @raise [ProtocolError] if the value is too big
        def encode(value)
          body = POOL.dump(value)
          if body.bytesize > MAX_BYTES
            raise ProtocolError, "frame of #{body.bytesize} bytes, at most #{MAX_BYTES} are allowed"
          end

          [body.bytesize].pack("N") << body
        rescue NoMethodError => error
          raise ProtocolError, "#{error.receiver.class} is no plain data and can't be sent"
        end

        # @param header [String] the first four bytes of a frame, and perhaps more
        # @return [Integer] how many bytes follow them
        # @raise [ProtocolError]
        def length(header)
          length = header.unpack1("N")
          raise ProtocolError, "empty frame" if length.zero?
          raise ProtocolError, "frame of #{length} bytes, at most #{MAX_BYTES} are allowed" if length > MAX_BYTES

          length
        end

        # @param content [String] what follows the length
        # @return [Object] the value
        # @raise [ProtocolError] if it is not one MessagePack value
        def decode(content)
          Sizes.check(content)
          POOL.load(content)
        rescue MessagePack::UnpackError, EOFError => error
          raise ProtocolError, "not MessagePack: #{error.class}"
        end

        private

        def unpack_tensor(payload)
          dtype, shape, bytes = parts(payload)
          binary = bytes.is_a?(String) && bytes.encoding == Encoding::BINARY
          raise ProtocolError, "the content of a tensor is #{bytes.class}, expected bytes" unless binary

          Tensor.new(dtype:, shape:, bytes:)
        rescue ArgumentError => error
          raise ProtocolError, error.message
        end

        def unpack_block(payload)
          dtype, shape, offset = parts(payload)
          unless offset.is_a?(Integer) && !offset.negative?
            raise ProtocolError, "the offset of a tensor is #{offset.inspect[0, 40]}, expected a non-negative integer"
          end

          TensorBlock.new(dtype:, shape: Tensor.check(dtype, shape), offset:)
        rescue ArgumentError => error
          raise ProtocolError, error.message
        end

        def parts(payload)
          Sizes.check(payload, TENSOR_BYTES)
          parts = MessagePack.unpack(payload)
          return parts if parts.is_a?(Array) && parts.size == 3

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

      # Incremental decoder of a frame's content. Long content is decoded in pieces: between two pieces the reader can
      # be interrupted or reach its deadline, and the next reader continues.
      class Decoder
        PIECE_BYTES = 64 * 1024
        # Bytes of memory that are decoded at once.
        AT_ONCE = 4 * 1024 * 1024
        private_constant :PIECE_BYTES, :AT_ONCE

        # @return [String]
        attr_reader :content

        # @param content [String] what follows the length
        def initialize(content)
          @content = content
        end

        # Call it with interrupts off.
        # @param limit [Float, nil] the time (monotonic) until which it decodes
        # @return [Array(Object), nil] the value; nil if the time was up before
        # @raise [ProtocolError] (see Frame.decode)
        def value(limit = nil)
          return [Frame.decode(content)] unless (@long = @long.nil? ? Sizes.check(content) > AT_ONCE : @long)

          until (found = piece)
            return if limit && Process.clock_gettime(Process::CLOCK_MONOTONIC) > limit

            Thread.handle_interrupt(Object => :immediate) { Thread.pass }
          end
          found
        end

        private

        # A signal's trap may raise within a piece: then the next reader begins again.
        def piece
          unpacker, position = @reached || [FACTORY.unpacker, 0]
          @reached = nil
          unpacker.feed(content.byteslice(position, PIECE_BYTES))
          [unpacker.read]
        rescue MessagePack::UnpackError => error
          raise ProtocolError, "not MessagePack: #{error.class}"
        rescue EOFError
          @reached = [unpacker, position + PIECE_BYTES]
          nil
        end
      end
    end
  end
end
