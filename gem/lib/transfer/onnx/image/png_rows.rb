# frozen_string_literal: true

require "zlib"
require_relative "png_filters"

module Transfer
  module Onnx
    module Image
      # The samples of a PNG file: inflated, unfiltered, put in order and unpacked.
      class PngRows
        # Origin and steps of the passes of an interlaced image: x, y, step of x, step of y.
        PASSES = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2],
                  [0, 1, 1, 2]].freeze
        WHOLE = [[0, 0, 1, 1]].freeze
        private_constant :PASSES, :WHOLE

        # @param header [#width, #height, #depth]
        # @param channels [Integer] samples per pixel
        # @param interlaced [Boolean]
        def initialize(header, channels, interlaced)
          @width = header.width
          @height = header.height
          @depth = header.depth
          @channels = channels
          @passes = interlaced ? PASSES : WHOLE
        end

        # @param data [Array<String>] of the chunks
        # @param is_cut [Boolean] whether the file ends within them
        # @param levels [Array<Integer>, nil] of samples below 8 bits: the byte for each value
        # @return [Raster] a channel per sample of up to 8 bits, two per sample of 16
        # @raise [Unreadable]
        def read(data, is_cut, levels = nil)
          bytes = inflate(data, sizes.sum { |width, height| height * (1 + row_bytes(width)) }, is_cut)
          place = 0
          parts = sizes.map do |width, height|
            size = height * (1 + row_bytes(width))
            rows = unfilter(bytes.byteslice(place, size), row_bytes(width))
            place += size
            @depth < 8 ? spread(rows, row_bytes(width), width * @channels, levels) : rows
          end
          channels = @depth == 16 ? 2 * @channels : @channels
          Raster.new(width: @width, height: @height, channels:, bytes: whole(parts, channels))
        end

        private

        # @return [Array<Array(Integer, Integer)>] width and height of each pass; zeros if it has no pixels
        def sizes
          @sizes ||= @passes.map do |x, y, step_x, step_y|
            size = [@width - x, @height - y].zip([step_x, step_y]).map { |side, step| [-(-side / step), 0].max }
            size.include?(0) ? [0, 0] : size
          end
        end

        def row_bytes(width) = ((width * @channels * @depth) + 7) / 8

        # A complete stream of too few bytes is one of black pixels at the end.
        def inflate(data, size, is_cut)
          bytes = String.new(encoding: Encoding::BINARY, capacity: size)
          inflater = Zlib::Inflate.new
          data.each do |chunk|
            inflater.inflate(chunk) { |part| bytes.bytesize > size ? break : bytes << part }
            break if bytes.bytesize > size
          end
          missing = size - bytes.bytesize
          raise Unreadable, "the file is truncated" if missing.positive? && (is_cut || !inflater.finished?)

          missing.positive? ? bytes << ("\0".b * missing) : bytes
        rescue Zlib::Error => error
          raise Unreadable, "it is damaged, #{error.message}"
        ensure
          inflater&.reset
          inflater&.close
        end

        def unfilter(rows, size)
          pixel = [@channels * @depth / 8, 1].max
          return rows if rows.empty?

          (Transfer.native? ? Native : PngFilters).unfilter(rows, size, pixel) or
            raise Unreadable, "it is damaged, with an unknown filter"
        end

        # Samples of less than 8 bits as a byte each.
        def spread(rows, size, samples, levels)
          levels ||= (0...(1 << @depth)).to_a
          table = (0..255).map { |byte| levels_of(byte).map { |level| levels[level] }.pack("C*") }
          Array.new(size.zero? ? 0 : rows.bytesize / size) do |y|
            rows.byteslice(y * size, size).each_byte.map { |byte| table[byte] }.join.byteslice(0, samples)
          end.join
        end

        def levels_of(byte)
          (8 / @depth).times.map { |i| (byte >> (8 - (@depth * (i + 1)))) & ((1 << @depth) - 1) }
        end

        def whole(parts, pixel)
          return parts.first if @passes.one?

          image = "\0".b * (@width * @height * pixel)
          @passes.zip(sizes, parts).each do |(x, y, step_x, step_y), (width, height), bytes|
            height.times do |row|
              width.times do |column|
                place = (((y + (row * step_y)) * @width) + x + (column * step_x)) * pixel
                image.bytesplice(place, pixel, bytes.byteslice(((row * width) + column) * pixel, pixel))
              end
            end
          end
          image
        end
      end
      private_constant :PngRows
    end
  end
end
