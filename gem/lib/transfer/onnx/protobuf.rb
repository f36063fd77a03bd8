# frozen_string_literal: true

module Transfer
  module Onnx
    # Protocol buffers: reading that ends with a value or {Malformed} for any bytes, and writing.
    module Protobuf
      # Raised for bytes that are no message.
      class Malformed < StandardError; end

      FIXED = { 1 => 8, 5 => 4 }.freeze
      MOST_SHIFT = 63
      private_constant :FIXED, :MOST_SHIFT

      class << self
        # @param bytes [String] binary
        # @param from [Integer] start of a message
        # @param till [Integer] its end
        # @yieldparam field [Integer] the number of each field, in order
        # @yieldparam value [Integer, Range] a number, or the place of a message, a text or bytes
        # @raise [Malformed]
        def each_field(bytes, from = 0, till = bytes.bytesize)
          while from < till
            tag, from = number(bytes, from, till)
            kind = tag & 7
            if kind.zero?
              value, from = number(bytes, from, till)
              yield tag >> 3, value
              next
            end
            length, from = kind == 2 ? number(bytes, from, till) : [FIXED[kind], from]
            raise Malformed unless length && length <= till - from

            yield tag >> 3, from...(from + length)
            from += length
          end
        end

        # @param fields [Hash{Integer => Integer, String, Hash, Array}] values by field; an Array is a repeated one
        # @return [String] a message
        def message(fields)
          fields.flat_map do |number, values|
            (values.is_a?(Array) ? values : [values]).map do |value|
              field(number, value)
            end
          end
                .join
        end

        private

        # @return [Array(Integer, Integer)] a number, and the place after it
        def number(bytes, from, till)
          value = shift = 0
          while from < till && shift <= MOST_SHIFT
            byte = bytes.getbyte(from)
            value |= (byte & 127) << shift
            from += 1
            shift += 7
            return [value, from] if byte < 128
          end
          raise Malformed
        end

        def field(number, value)
          return varint(number << 3) + varint(value) if value.is_a?(Integer)

          bytes = value.is_a?(Hash) ? message(value) : value.b
          varint((number << 3) | 2) + varint(bytes.bytesize) + bytes
        end

        # Negative numbers are 64 bits in two's complement.
        def varint(value)
          value &= (1 << 64) - 1
          bytes = []
          while value > 127
            bytes << ((value & 127) | 128)
            value >>= 7
          end
          (bytes << value).pack("C*")
        end
      end
    end
    private_constant :Protobuf
  end
end
