# frozen_string_literal: true

require_relative "gif_codes"

module Transfer
  module Onnx
    module Image
      # GIF files (89a specification): the first frame.
      class Gif
        # First row and step of the passes of an interlaced frame.
        PASSES = [[0, 8], [4, 8], [2, 4], [1, 2]].freeze
        TRAILER = 0x3B
        IMAGE = 0x2C
        EXTENSION = 0x21
        CONTROL = 0xF9
        GREY = (0..255).flat_map { |level| [level] * 3 }.pack("C*").freeze
        # Place and size of a frame on its canvas.
        Frame = ::Data.define(:left, :top, :width, :height, :flags) do
          # @return [Boolean]
          def within?(canvas)
            width.positive? && height.positive? && left + width <= canvas[0] && top + height <= canvas[1]
          end
        end
        private_constant :PASSES, :TRAILER, :IMAGE, :EXTENSION, :CONTROL, :GREY, :Frame

        # @param content [String]
        # @yieldparam width [Integer]
        # @yieldparam height [Integer] before the memory for them is taken
        # @return [Raster] RGB
        # @raise [Unreadable]
        def self.decode(content, &) = new(content).decode(&)

        # @param content [String]
        def initialize(content)
          @content = content
          @place = 6
        end

        # @return (see Gif.decode)
        def decode
          *canvas, flags = take(7).unpack("vvC")
          @palette = colors(flags) || GREY
          yield(*canvas)
          skip_to_image
          frame = Frame.new(*take(9).unpack("v4C"))
          raise Unreadable, "it is damaged, with a frame outside of its canvas" unless frame.within?(canvas)

          @palette = colors(frame.flags) || @palette
          coloured(indices(frame, rows(frame), *canvas))
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

        # Keeps the index of transparent pixels.
        def skip_to_image
          while (kind = take(1).ord) != IMAGE
            raise Unreadable, "it is damaged, without an image" if kind == TRAILER
            next unless kind == EXTENSION

            label = take(1).ord
            body = blocks
            @transparent = body.getbyte(3) if label == CONTROL && body.bytesize == 4 && body.getbyte(0).odd?
          end
        end

        # Blocks of at most 255 bytes, up to an empty one or the end of the file.
        def blocks
          bytes = "".b
          while (size = @content.getbyte(@place))
            @place += 1
            return bytes if size.zero?

            bytes << @content.byteslice(@place, size).to_s
            @place += size
          end
          bytes
        end

        # @return [Array<String>] indices, from the top
        def rows(frame)
          codes = GifCodes.new(take(1).ord)
          size = frame.width * frame.height
          lines = codes.decode(blocks, size)
          raise Unreadable, "the file is truncated" if lines.bytesize < size

          rows = Array.new(frame.height) { |y| lines.byteslice(y * frame.width, frame.width) }
          return rows unless frame.flags.anybits?(0x40)

          order = PASSES.flat_map { |first, step| (first...frame.height).step(step).to_a }
          order.zip(rows).sort_by(&:first).map(&:last)
        end

        # @return [Raster] one channel; around the frame transparent, or of the first colour
        def indices(frame, rows, width, height)
          around = (@transparent || 0).chr
          left = around * frame.left
          right = around * (width - frame.left - frame.width)
          above = Array.new(frame.top, around * width)
          below = Array.new(height - frame.top - frame.height, around * width)
          bytes = [*above, *rows.map { |row| left + row + right }, *below].join
          Raster.new(width:, height:, channels: 1, bytes:)
        end

        def coloured(indices)
          colors = @palette.ljust(768, "\0".b)
          return Pixels.of_palette(indices, colors, 3) unless @transparent

          entries = colors.bytes.each_slice(3).with_index.flat_map { |color, i| [*color, i == @transparent ? 0 : 255] }
          Pixels.rgb(Pixels.of_palette(indices, entries.pack("C*"), 4))
        end
      end
      private_constant :Gif
    end
  end
end
