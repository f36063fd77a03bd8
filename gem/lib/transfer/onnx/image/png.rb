# frozen_string_literal: true

require "zlib"
require_relative "png_rows"

module Transfer
  module Onnx
    module Image
      # PNG files (RFC 2083): every colour type and depth, interlaced ones as well.
      class Png
        SIGNATURE = "\x89PNG\r\n\x1a\n".b
        # Samples per pixel, and legal depths, by colour type.
        COLORS = { 0 => [1, [1, 2, 4, 8, 16]], 2 => [3, [8, 16]], 3 => [1, [1, 2, 4, 8]], 4 => [2, [8, 16]],
                   6 => [4, [8, 16]] }.freeze
        GREY = 0
        PALETTE = 3
        # Bytes of text that are searched for XMP.
        MOST_TEXT = 1 << 20
        TEXT_OF_XMP = "XML:com.adobe.xmp\0".b
        Header = ::Data.define(:width, :height, :depth, :color, :compression, :filter, :interlace)
        private_constant :COLORS, :GREY, :PALETTE, :MOST_TEXT, :TEXT_OF_XMP, :Header

        # @param content [String]
        # @yieldparam width [Integer]
        # @yieldparam height [Integer] before the memory for them is taken
        # @return [Raster] RGB, upright
        # @raise [Unreadable]
        def self.decode(content, &) = new(content).decode(&)

        # @param content [String]
        def initialize(content)
          @content = content
          @data = []
        end

        # @return (see Png.decode)
        def decode
          read_chunks
          yield @header.width, @header.height
          Pixels.upright(colors, Orientation.read(@exif, @xmp))
        end

        private

        def read_chunks
          place = SIGNATURE.bytesize
          loop do
            length, type = @content.byteslice(place, 8)&.unpack("Na4")
            break @is_cut = true unless length && type.bytesize == 4

            body = @content.byteslice(place + 8, length)
            @is_cut = body.bytesize < length
            check_sum(place, length, type, body) if type.match?(/\A[A-Z]/)
            break if type == "IEND"

            keep(type, body)
            break if @is_cut

            place += 12 + length
          end
          raise Unreadable, @is_cut ? "the file is truncated" : "it is damaged" unless @header && @data.any?
        end

        # A file may end within the data of the last rows.
        def check_sum(place, length, type, body)
          sum = @content.byteslice(place + 8 + length, 4)&.unpack1("N")
          return if sum.nil? || sum == Zlib.crc32(body, Zlib.crc32(type))

          raise Unreadable, "it is damaged in its chunk #{Plain.printable(type)}"
        end

        def keep(type, body)
          case type
          when "IHDR" then @header ||= header(body)
          when "PLTE" then @palette = body
          when "tRNS" then @transparency = body
          when "IDAT" then @data << body
          when "eXIf" then @exif = body
          when "iTXt" then keep_text(body)
          end
        end

        def keep_text(body)
          @xmp ||= body if body.start_with?(TEXT_OF_XMP) && body.bytesize <= MOST_TEXT
        end

        def header(body)
          raise Unreadable, "it is damaged in its chunk IHDR" unless body.bytesize == 13

          found = Header.new(*body.unpack("NNC5"))
          legal = COLORS[found.color]&.last&.include?(found.depth) && found.width.positive? && found.height.positive? &&
                  found.compression.zero? && found.filter.zero? && found.interlace < 2
          legal ? found : raise(Unreadable, "it is damaged in its chunk IHDR")
        end

        # @param levels [Array<Integer>, nil] of samples below 8 bits
        def samples(levels = nil)
          channels, = COLORS.fetch(@header.color)
          PngRows.new(@header, channels, @header.interlace == 1).read(@data, @is_cut, levels)
        end

        # @return [Raster] RGB
        def colors
          case @header.color
          when PALETTE then of_palette
          when GREY then @header.depth == 16 ? Pixels.rgb(Pixels.of_deep_grey(samples)) : of_grey
          else
            raster = @header.depth == 16 ? Pixels.high_bytes(samples) : samples
            Pixels.rgb(without_color(raster))
          end
        end

        def of_palette
          raise Unreadable, "it is damaged, without a palette" unless @palette

          colors = @palette.byteslice(0, 768).ljust(768, "\0".b)
          return Pixels.of_palette(samples, colors, 3) unless @transparency

          alpha = @transparency.byteslice(0, 256).ljust(256, "\xff".b).bytes
          entries = colors.bytes.each_slice(3).zip(alpha).flatten
          Pixels.rgb(Pixels.of_palette(samples, entries.pack("C*"), 4))
        end

        def of_grey
          most = (1 << @header.depth) - 1
          Pixels.rgb(without_color(samples((0..most).map { |level| 255 * level / most })))
        end

        # The transparent color is compared with samples of 8 bits, as Pillow does; only of one bit it is scaled.
        def without_color(raster)
          return raster unless @transparency && [1, 3].include?(raster.channels)

          color = @transparency.unpack("n#{raster.channels}")
          raise Unreadable, "it is damaged in its chunk tRNS" unless color.all?

          scale = @header.depth == 1 ? 255 : 1
          Pixels.without_color(raster, color.map { |sample| (sample * scale) & 255 })
        end
      end
      private_constant :Png
    end
  end
end
