# frozen_string_literal: true

module Transfer
  module Bridge
    # Looks through MessagePack for lists and maps that claim more members than there are bytes left. The library
    # reserves room for what is claimed: five bytes could cost 64 GiB.
    module Sizes
      # First bytes of a list and of a map whose size has 32 bits. Of 16 bits the sizes are harmless.
      SUSPICIOUS = /[\xDD\xDF]/n
      # Bytes that follow a first byte, up to where the next value begins.
      FOLLOWING = Array.new(256, 0).tap do |following|
        (0xa0..0xbf).each { |byte| following[byte] = byte & 0x1f }
        { 0xca => 4, 0xcb => 8, 0xcc => 1, 0xcd => 2, 0xce => 4, 0xcf => 8, 0xd0 => 1, 0xd1 => 2, 0xd2 => 4, 0xd3 => 8,
          0xd4 => 2, 0xd5 => 3, 0xd6 => 5, 0xd7 => 9, 0xd8 => 17, 0xdc => 2, 0xde => 2 }
          .each { |byte, count| following[byte] = count }
      end.freeze
      # First bytes of text, binary and extensions: the bytes of their length, and those besides the content.
      LENGTHS = { 0xd9 => [1, 0], 0xda => [2, 0], 0xdb => [4, 0], 0xc4 => [1, 0], 0xc5 => [2, 0], 0xc6 => [4, 0],
                  0xc7 => [1, 1], 0xc8 => [2, 1], 0xc9 => [4, 1] }.freeze
      private_constant :FOLLOWING, :LENGTHS

      # @param content [String] MessagePack
      # @raise [ProtocolError]
      def self.check(content)
        return unless content.b.match?(SUSPICIOUS)

        position = 0
        while (byte = content.getbyte(position))
          position += 1 + (LENGTHS.key?(byte) ? long(content, position + 1, byte) : FOLLOWING[byte])
          next unless [0xdd, 0xdf].include?(byte)

          claim(content, position, byte)
          position += 4
        end
      end

      class << self
        private

        def long(content, position, byte)
          width, besides = LENGTHS[byte]
          width + besides + number(content, position, width)
        end

        def claim(content, position, byte)
          members = number(content, position, 4) * (byte == 0xdf ? 2 : 1)
          left = content.bytesize - position - 4
          raise ProtocolError, "a list or map claims #{members} members in #{left} bytes" if members > left
        end

        def number(content, position, width)
          (0...width).inject(0) { |value, i| (value << 8) | (content.getbyte(position + i) || 0) }
        end
      end
    end
  end
end
