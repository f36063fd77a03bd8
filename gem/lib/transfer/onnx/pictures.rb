# frozen_string_literal: true

require_relative "session"

module Transfer
  module Onnx
    # Images as the input of a graph.
    class Pictures
      # @param file [ExportedFile]
      def initialize(file)
        @at_least = file.description.decode_at_least
      end

      # @param input [String] a path, or bytes (binary)
      # @param name [String] of bytes in messages
      # @return [Hash{String => Value}]
      # @raise [DataError]
      def read(input, name)
        raster = Image.decode(input, @at_least)
        { "image" => Value.new(:uint8, [1, *raster.shape], raster.bytes) }
      rescue Image::Unreadable => error
        is_path = input.encoding != Encoding::BINARY
        raise DataError.new("#{is_path ? input : name}: #{error.message}", details: is_path ? { "path" => input } : {})
      end
    end
  end
end
