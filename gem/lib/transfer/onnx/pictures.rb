# frozen_string_literal: true

require_relative "session"

module Transfer
  module Onnx
    # Images as the input of a graph.
    class Pictures
      # @param file [ExportedFile]
      def initialize(file)
        @at_least, @longer_at_least = file.description.decode_limits
        @inputs = file.inputs
      end

      # @param input [String] a path, or bytes (binary)
      # @param name [String] of bytes in messages
      # @return [Hash{String => Value}]
      # @raise [DataError]
      def read(input, name)
        raster, size = Image.decode_sized(input) { |*sides| at_least(*sides.minmax) }
        { "image" => Value.new(:uint8, [1, *raster.shape], raster.bytes),
          "size" => Value.new(:int64, [2], size.pack("q<*")) }.slice(*@inputs)
      rescue Image::Unreadable => error
        is_path = input.encoding != Encoding::BINARY
        raise DataError.new("#{is_path ? input : name}: #{error.message}", details: is_path ? { "path" => input } : {})
      end

      private

      def at_least(shorter, longer)
        @longer_at_least ? -(-@longer_at_least * shorter / longer) : @at_least
      end
    end
  end
end
