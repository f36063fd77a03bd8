# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # BMP files without compression, of 1, 4, 8, 24 or 32 bits per pixel.
      module Bmp
        # Compression of 32 bits whose masks are in the header.
        PLAIN, MASKS = 0, 3 # rubocop:disable Style/ParallelAssignment
        # Red, green and blue in the order of 32-bit pixels.
        USUAL_MASKS = [0xff0000, 0xff00, 0xff].freeze
        DIGITS = { 1 => "B*", 4 => "H*" }.freeze
        NEEDS_CONVERSION = "this kind of BMP image needs conversion to JPEG or PNG first"
        private_constant :PLAIN, :MASKS, :USUAL_MASKS, :DIGITS, :NEEDS_CONVERSION

        class << self
          # @param content [String]
          # @yieldparam width [Integer]
          # @yieldparam height [Integer] before the memory for them is taken
          # @return [Raster] RGB
          # @raise [Unreadable]
          def decode(content, _at_least)
            start, size = content.byteslice(10, 8)&.unpack("VV")
            raise Unreadable, "the file is truncated" unless size

            width, height, bits, compression, used = header(content, size)
            raise Unreadable, "it is damaged" unless width.positive? && height.nonzero?

            yield width, height.abs
            rows = rows(content, start, ((width * bits) + 31) / 32 * 4, height)
            return of_palette(content, size, rows, width, bits, used) if bits <= 8

            channels = bits / 8
            bytes = rows.map { |row| row.byteslice(0, width * channels) }.join
            has_alpha = bits == 32 && alpha?(content, size, compression)
            Pixels.rgb(Pixels.of_bgr(Raster.new(width:, height: height.abs, channels:, bytes:), has_alpha))
          end

          private

          def header(content, size)
            fields = content.byteslice(18, 32).ljust(32, "\0".b).unpack(size == 12 ? "vv@6v" : "l<l<@10vV@28V")
            width, height, bits, compression, used = fields
            masks = compression == MASKS && bits == 32 && content.byteslice(54, 12)&.unpack("V3") == USUAL_MASKS
            known = [1, 4, 8, 24, 32].include?(bits) && ([nil, PLAIN].include?(compression) || masks)
            raise Unreadable, NEEDS_CONVERSION unless known

            [width, height, bits, compression, used.to_i]
          end

          def alpha?(content, size, compression)
            compression == MASKS && size >= 56 && content.byteslice(66, 4)&.unpack1("V") == 0xff000000
          end

          # Rows are stored from the bottom, or from the top if the height is negative.
          def rows(content, start, size, height)
            rows = Array.new(height.abs) { |y| content.byteslice(start + (y * size), size).to_s }
            raise Unreadable, "the file is truncated" if rows.any? { |row| row.bytesize < size }

            height.negative? ? rows : rows.reverse
          end

          def of_palette(content, size, rows, width, bits, used)
            entry = size == 12 ? 3 : 4
            count = used.between?(1, 256) ? used : 1 << bits
            colors = content.byteslice(14 + size, count * entry).to_s.bytes.each_slice(entry).flat_map do |blue, green, red|
              [red.to_i, green.to_i, blue.to_i]
            end
            bytes = rows.map { |row| indices(row, bits).byteslice(0, width) }.join
            Pixels.of_palette(Raster.new(width:, height: rows.size, channels: 1, bytes:),
                              colors.pack("C*").ljust(768, "\0".b), 3)
          end

          def indices(row, bits)
            bits == 8 ? row : row.unpack1(DIGITS.fetch(bits)).each_char.map { |digit| digit.to_i(16) }.pack("C*")
          end
        end
      end
      private_constant :Bmp
    end
  end
end
