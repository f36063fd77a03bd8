# frozen_string_literal: true

module Transfer
  module Bridge
    # The memory that MessagePack takes once it is decoded, without decoding it: one byte can be a map, and five bytes
    # can claim four billion members. {Native} does the same faster, and leaves every refusal to this.
    module Sizes
      # Bytes of memory that a frame may take once it is decoded, besides the content of text and binary.
      MAX_BYTES = 256 * 1024 * 1024
      # Bytes of memory per value: docs/reference/protocol.md, "Frames".
      SMALL = 8
      NUMBER = 40
      TEXT_OR_LIST = 72
      MAP = 200
      EXTENSION = 1024
      # Most of them per byte of a frame: an extension of three bytes.
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
        { 0xca => 4, 0xcb => 8, 0xcc => 1, 0xcd => 2, 0xce => 4, 0xcf => 8, 0xd0 => 1, 0xd1 => 2, 0xd2 => 4, 0xd3 => 8 }
          .each { |first, size| kinds[first] = [1, 0, size, 0, NUMBER] }
        { 0xdc => 2, 0xdd => 4 }.each { |first, width| kinds[first] = [1 + width, width, 0, 1, TEXT_OR_LIST] }
        { 0xde => 2, 0xdf => 4 }.each { |first, width| kinds[first] = [1 + width, width, 0, 2, MAP] }
      end.freeze
      TABLE = KINDS.map { |kind| kind.pack("C4S") }.join.freeze
      private_constant :SMALL, :NUMBER, :TEXT_OR_LIST, :MAP, :EXTENSION, :MOST_PER_BYTE, :SUSPICIOUS, :KINDS, :TABLE

      class << self
        # @param content [String] MessagePack
        # @param limit [Integer] bytes of memory
        # @return [Integer] the bytes of memory that the content takes at most once it is decoded
        # @raise [ProtocolError] if that is more than the limit, or if it is not one whole value
        def check(content, limit = MAX_BYTES)
          return Native.decoded_bytes(content, limit, TABLE) || measure(content, limit) if Transfer.native?

          most = content.bytesize * MOST_PER_BYTE
          most <= limit && !content.b.match?(SUSPICIOUS) ? most : measure(content, limit)
        end

        private

        def measure(content, limit)
          at = total = 0
          due = 1 # values that are still to come, each of at least one byte
          while due.positive?
            head, width, size, values, cost = KINDS[content.getbyte(at) || refuse("a value ends beyond its frame")]
            size = number(content, at + 1, width) if width.positive?
            at += head
            values.zero? ? at += size : due += values * size
            due -= 1
            total += cost
            refuse_claim(content.bytesize - at, values * size) if due > content.bytesize - at
            refuse("more than #{limit} bytes of memory once it is decoded") if total > limit
          end
          return total if at == content.bytesize

          refuse("#{content.bytesize - at} bytes too many in a frame")
        end

        def number(content, position, width)
          value = 0
          width.times { |i| value = (value << 8) | (content.getbyte(position + i) || 0) }
          value
        end

        def refuse_claim(left, members)
          refuse("a value ends beyond its frame") if left.negative? || members.zero?
          refuse("a list or map claims #{members} members in #{left} bytes")
        end

        def refuse(message) = raise(ProtocolError, message)
      end
    end
  end
end
