# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # BMP files without compression, of 1, 4, 8, 24 or 32 bits per pixel.
      class Bmp
        # Compression of 32 bits whose masks are in the header.
        PLAIN = 0
        MASKS = 3
        # Red, green and blue in the order of 32-bit pixels; and alpha.
        USUAL_MASKS = [0xff0000, 0xff00, 0xff].freeze
        ALPHA = 0xff000000
        DIGITS = { 1 => "B*", 4 => "H*" }.freeze
        NEEDS_CONVERSION = "this kind of BMP image needs conversion to JPEG or PNG first"
        private_constant :PLAIN, :MASKS, :USUAL_MASKS, :ALPHA, :DIGITS, :NEEDS_CONVERSION

        # @param content [String]
        # @yieldparam width [Integer]
        # @yieldparam height [Integer] before the memory for them is taken
        # @return [Raster] RGB
        # @raise [Unreadable]
        def self.decode(content, &) = new(content).decode(&)

        # @param content [String]
        # @raise [Unreadable]
        def initialize(content)
          @content = content
          @start, @header_size = content.byteslice(10, 8)&.unpack("VV")
          raise Unreadable, "the file is truncated" unless @header_size

          fields = content.byteslice(18, 32).ljust(32, "\0".b).unpack(@header_size == 12 ? "vv@6v" : "l<l<@10vV@28V")
          @width, @height, @bits, @compression, @used = fields
          raise Unreadable, NEEDS_CONVERSION unless known?
          raise Unreadable, "it is damaged" unless @width.positive? && @height.nonzero?
        end

        # @return (see Bmp.decode)
        def decode
          yield @width, @height.abs
          @bits > 8 ? of_colors : of_palette
        end

        private

        def known?
          masks = @compression == MASKS && @bits == 32 && @content.byteslice(54, 12)&.unpack("V3") == USUAL_MASKS
          [1, 4, 8, 24, 32].include?(@bits) && (masks || [nil, PLAIN].include?(@compression))
        end

        def alpha? = @compression == MASKS && @header_size >= 56 && @content.byteslice(66, 4)&.unpack1("V") == ALPHA

        # Rows are stored from the bottom, or from the top if the height is negative.
        def rows
          size = ((@width * @bits) + 31) / 32 * 4
          rows = Array.new(@height.abs) { |y| @content.byteslice(@start + (y * size), size).to_s }
          raise Unreadable, "the file is truncated" if rows.any? { |row| row.bytesize < size }

          @height.negative? ? rows : rows.reverse
        end

        def raster(channels, bytes) = Raster.new(width: @width, height: @height.abs, channels:, bytes:)

        def of_colors
          channels = @bits / 8
          bytes = rows.map { |row| row.byteslice(0, @width * channels) }.join
          Pixels.rgb(Pixels.of_bgr(raster(channels, bytes), channels == 4 && alpha?))
        end

        def of_palette
          size = @header_size == 12 ? 3 : 4
          count = @used.to_i.between?(1, 256) ? @used : 1 << @bits
          entries = @content.byteslice(14 + @header_size, count * size).to_s.bytes.each_slice(size)
          colors = entries.flat_map { |blue, green, red| [red.to_i, green.to_i, blue.to_i] }
          bytes = rows.map { |row| indices(row).byteslice(0, @width) }.join
          Pixels.of_palette(raster(1, bytes), colors.pack("C*").ljust(768, "\0".b), 3)
        end

        def indices(row)
          @bits == 8 ? row : row.unpack1(DIGITS.fetch(@bits)).each_char.map { |digit| digit.to_i(16) }.pack("C*")
        end
      end
      private_constant :Bmp
    end
  end
end
