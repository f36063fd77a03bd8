# frozen_string_literal: true

require "msgpack"

module Transfer
  module Bridge
    # Values as bytes: a length of four bytes, big-endian, and one MessagePack value. See docs/protocol.md.
    module Frame
      MAX_BYTES = 64 * 1024 * 1024

      # The stream ended within a frame: whoever wrote it has died.
      CutShort = Class.new(ProtocolError)

      class << self
        # @return [String] the bytes of one frame
        # @raise [ProtocolError] if the value is too big
        def encode(value)
          body = FACTORY.dump(value)
          if body.bytesize > MAX_BYTES
            raise ProtocolError, "frame of #{body.bytesize} bytes, at most #{MAX_BYTES} are allowed"
          end

          [body.bytesize].pack("N") << body
        rescue NoMethodError => error
          raise ProtocolError, "#{error.receiver.class} is no plain data and can't be sent"
        end

        # Blocks until a whole frame is there.
        # @return [Array(Object), nil] the value in a list; nil if the stream ended between two frames
        # @raise [ProtocolError] if it ended within one, or if what came is no frame
        def read(io)
          header = io.read(4) or return
          raise CutShort, "the stream ended inside the length of a frame" if header.bytesize < 4

          length = header.unpack1("N")
          raise ProtocolError, "empty frame" if length.zero?
          raise ProtocolError, "frame of #{length} bytes, at most #{MAX_BYTES} are allowed" if length > MAX_BYTES

          body = io.read(length) || ""
          if body.bytesize < length
            raise CutShort, "the stream ended after #{body.bytesize} of the #{length} bytes of a frame"
          end

          [decode(body)]
        end

        private

        def decode(body)
          FACTORY.load(body)
        rescue MessagePack::UnpackError, EOFError => error
          raise ProtocolError, "not MessagePack: #{error.class}"
        end

        def unpack_tensor(payload)
          dtype, shape, bytes = parts(payload)
          binary = bytes.is_a?(String) && bytes.encoding == Encoding::BINARY
          raise ProtocolError, "the content of a tensor is #{bytes.class}, expected bytes" unless binary

          Tensor.new(dtype:, shape:, bytes:)
        end

        def unpack_tensor_file(payload)
          dtype, shape, path = parts(payload)
          text = path.is_a?(String) && path.encoding == Encoding::UTF_8
          raise ProtocolError, "the path of a tensor is #{path.class}, expected text" unless text

          TensorFile.new(dtype:, shape:, path:)
        end

        def parts(payload)
          parts = decode(payload)
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
          2, TensorFile,
          packer: ->(file) { MessagePack.pack([file.dtype, file.shape, file.path]) },
          unpacker: method(:unpack_tensor_file)
        )
      end
      private_constant :FACTORY
    end
  end
end
