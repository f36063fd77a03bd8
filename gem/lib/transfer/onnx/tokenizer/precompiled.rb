# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Replacements of characters as sentencepiece stores them: a double-array trie, then texts that end with NUL.
      class Precompiled
        # Longer graphemes are replaced character by character.
        LONGEST = 5
        private_constant :LONGEST

        # @param encoded [String] Base64
        # @raise [Unsupported] if it is damaged
        def initialize(encoded)
          bytes = encoded.to_s.unpack1("m0")
          size = bytes.unpack1("V").to_i
          raise Unsupported, "its precompiled_charsmap" unless (size % 4).zero? && size.between?(4, bytes.bytesize - 4)

          @units = bytes.byteslice(4, size).unpack("V*")
          @texts = bytes.byteslice((4 + size)..)
          @known = {}
        rescue ArgumentError
          raise Unsupported, "its precompiled_charsmap", cause: nil
        end

        # @param text [String]
        # @return [String]
        def call(text)
          text.each_grapheme_cluster.map do |grapheme|
            whole = replacement(grapheme) if grapheme.bytesize <= LONGEST
            whole || grapheme.each_char.map { |character| replacement(character) || character }.join
          end.join
        end

        private

        def replacement(part) = @known.fetch(part) { |key| @known[key] = look_up(key) if @known.size < 100_000 }

        # @return [String, nil] of the shortest beginning that the trie has
        def look_up(part)
          place = offset(unit(0))
          bytes = part.bytes
          while (byte = bytes.shift) && !byte.zero?
            place ^= byte
            found = unit(place)
            return if (found & 0x800000ff) != byte

            place ^= offset(found)
            return text_at(unit(place) & 0x7fffffff) if found[8] == 1
          end
        end

        def unit(place) = @units[place] || 0

        def offset(unit) = (unit >> 10) << ((unit & (1 << 9)) >> 6)

        def text_at(place)
          @texts.byteslice(place..).to_s[/\A[^\0]*/n].dup.force_encoding(Encoding::UTF_8).scrub
        end
      end
    end
  end
end
