# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # GIF files (89a specification): the first frame.
      class Gif
        # Codes of LZW have at most so many bits.
        MOST_BITS = 12
        # First row and step of the passes of an interlaced frame.
        PASSES = [[0, 8], [4, 8], [2, 4], [1, 2]].freeze
        TRAILER, IMAGE, CONTROL = 0x3B, 0x2C, 0xF9 # rubocop:disable Style/ParallelAssignment
        private_constant :MOST_BITS, :PASSES, :TRAILER, :IMAGE, :CONTROL

        # @param content [String]
        # @yieldparam width [Integer]
        # @yieldparam height [Integer] before the memory for them is taken
        # @return [Raster] RGB
        # @raise [Unreadable]
        def self.decode(content, _at_least, &) = new(content).decode(&)

        # @param content [String]
        def initialize(content)
          @content = content
          @place = 6
        end

        # @return (see Gif.decode)
        def decode
          width, height, flags = take(7).unpack("vvC")
          palette = colors(flags)
          yield width, height
          transparent = skip_to_image
          left, top, *size, flags = take(9).unpack("v4C")
          palette = colors(flags) || palette || (0..255).flat_map { |level| [level] * 3 }.pack("C*")
          yield(*size)
          fits = left + size[0] <= width && top + size[1] <= height && !size.include?(0)
          raise Unreadable, "it is damaged, with a frame outside of its canvas" unless fits

          rows = rows(lines(size), flags, size)
          raster(width, height, left, top, rows, palette, transparent)
        end

        private

        def take(size)
          bytes = @content.byteslice(@place, size)
          raise Unreadable, "the file is truncated" unless bytes && bytes.bytesize == size

          @place += size
          bytes
        end

        # @return [String, nil] the palette that the flags announce
        def colors(flags) = (take(3 << ((flags & 7) + 1)) if flags.anybits?(0x80))

        # @return [Integer, nil] the index of transparent pixels
        def skip_to_image
          transparent = nil
          while (kind = take(1).ord) != IMAGE
            raise Unreadable, "it is damaged, without an image" if kind == TRAILER
            next unless kind == 0x21

            label = take(1).ord
            body = blocks
            transparent = body.getbyte(3) if label == CONTROL && body.bytesize == 4 && body.getbyte(0).odd?
          end
          transparent
        end

        # Blocks of at most 255 bytes, up to an empty one.
        def blocks(is_last: false)
          bytes = "".b
          while (size = @content.getbyte(@place))
            @place += 1
            return bytes if size.zero?

            bytes << @content.byteslice(@place, size).to_s
            @place += size
          end
          is_last ? bytes : raise(Unreadable, "the file is truncated")
        end

        # @return [String] the indices of all pixels (LZW)
        def lines((width, height))
          start_bits = take(1).ord
          raise Unreadable, "it is damaged, with codes of #{start_bits} bits" unless start_bits.between?(1, 11)

          lines = lzw(blocks(is_last: true), start_bits, width * height)
          lines.bytesize < width * height ? raise(Unreadable, "the file is truncated") : lines.byteslice(0, width * height)
        end

        def lzw(data, start_bits, size)
          clear = 1 << start_bits
          result = String.new(encoding: Encoding::BINARY, capacity: size)
          entries = bits = before = nil
          reset = lambda do
            entries = Array.new(clear) { |i| (i & 255).chr } + [nil, nil]
            bits = start_bits + 1
            before = nil
          end
          reset.call
          kept = kept_bits = 0
          data.each_byte do |byte|
            kept |= byte << kept_bits
            kept_bits += 8
            while kept_bits >= bits
              code = kept & ((1 << bits) - 1)
              kept >>= bits
              kept_bits -= bits
              next reset.call if code == clear
              return result if code == clear + 1 || result.bytesize >= size

              entry = entries[code] || (before && code == entries.size ? before + before[0] : nil)
              raise Unreadable, "it is damaged" unless entry

              result << entry
              entries << (before + entry[0]) if before && entries.size < (1 << MOST_BITS)
              bits += 1 if entries.size == (1 << bits) && bits < MOST_BITS
              before = entry
            end
          end
          result
        end

        # @return [Array<String>] from the top
        def rows(lines, flags, (width, height))
          rows = Array.new(height) { |y| lines.byteslice(y * width, width) }
          return rows unless flags.anybits?(0x40)

          order = PASSES.flat_map { |first, step| (first...height).step(step).to_a }
          order.zip(rows).sort_by(&:first).map(&:last)
        end

        def raster(width, height, left, top, rows, palette, transparent)
          background = (transparent || 0).chr
          empty = background * width
          bytes = Array.new(height) do |y|
            row = rows[y - top] if y >= top
            row ? (background * left) + row + (background * (width - left - row.bytesize)) : empty
          end.join
          indices = Raster.new(width:, height:, channels: 1, bytes:)
          return Pixels.of_palette(indices, palette.ljust(768, "\0".b), 3) unless transparent

          entries = palette.ljust(768, "\0".b).bytes.each_slice(3).with_index.flat_map do |color, i|
            [*color, i == transparent ? 0 : 255]
          end
          Pixels.rgb(Pixels.of_palette(indices, entries.pack("C*"), 4))
        end
      end
      private_constant :Gif
    end
  end
end
