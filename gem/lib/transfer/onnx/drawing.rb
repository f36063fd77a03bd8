# frozen_string_literal: true

require "zlib"

module Transfer
  module Onnx
    # Draws boxes on a photo without Python: rectangles in a colour for each label, as PNG.
    module Drawing
      # Shares of the longer side, and pixels at least, of a line.
      LINE = 1 / 300.0
      THINNEST = 2
      # Lightness and saturation of a colour, as in `data/drawing.py` of the core.
      LIGHTNESS = 0.5
      SATURATION = 0.85
      PNG = "\x89PNG\r\n\x1a\n".b
      private_constant :PNG, :LINE, :THINNEST, :LIGHTNESS, :SATURATION

      # {Prediction::Detection#draw} where there is no Python.
      module WithoutPython
        # (see Prediction::Detection#draw)
        def draw(file, image: nil)
          super
        rescue PythonNotFound
          Drawing.write(image ? Input.wire(image, "image") : @image, self, Input.path(file.to_s))
          Pathname.new(file)
        end
      end

      class << self
        # @param image [String] the path of a photo, or its bytes (binary)
        # @param prediction [Prediction::Detection]
        # @param file [String] `….png`
        # @raise [DataError] if the photo can't be read, has another size, or the file another extension
        def write(image, prediction, file)
          unless file.downcase.end_with?(".png")
            raise DataError, "can't draw to #{file} without Python. Fix: use a name that ends with .png"
          end

          raster = Image.decode(image)
          check_size(raster, prediction)
          bytes = raster.bytes.dup
          prediction.boxes.reverse_each { |box| outline(bytes, [raster.width, raster.height], box) }
          File.binwrite(file, png(raster.width, bytes))
        rescue Image::Unreadable => error
          raise DataError, "the photo can't be read: #{error.message}", cause: nil
        end

        # @param label [String]
        # @return [Array<Integer>] red, green and blue
        def color_of(label)
          hue = 12 * Zlib.crc32(label.b) / (2.0**32)
          amplitude = SATURATION * [LIGHTNESS, 1 - LIGHTNESS].min
          [0, 8, 4].map do |offset|
            place = (offset + hue) % 12
            (255 * (LIGHTNESS - (amplitude * [-1.0, [place - 3, 9 - place, 1.0].min].max))).round
          end
        end

        private

        def check_size(raster, prediction)
          found = [raster.width, raster.height]
          expected = [prediction.width, prediction.height]
          return if found == expected

          raise DataError, "the prediction is for an image of #{expected.join(' x ')} pixels, but this one has " \
                           "#{found.join(' x ')}"
        end

        def outline(bytes, size, box)
          line = line_width(size)
          columns = pixels(box.x, box.width, size[0])
          rows = pixels(box.y, box.height, size[1])
          color = color_of(box.label).pack("C3")
          rows.each do |y|
            spans = [y - rows.begin, rows.end - y].min < line ? [columns] : edges(columns, line)
            spans.each { |span| fill(bytes, (y * size[0]) + span.begin, span.size, color) }
          end
        end

        def line_width(size) = [THINNEST, (LINE * size.max).round].max

        def pixels(start, length, side) = start.round.clamp(0, side - 1)..(start + length - 1).round.clamp(0, side - 1)

        def edges(columns, line)
          return [columns] if columns.size < 2 * line

          [columns.begin..(columns.begin + line - 1), (columns.end - line + 1)..columns.end]
        end

        def fill(bytes, pixel, count, color) = bytes.bytesplice(3 * pixel, 3 * count, color * count)

        def png(width, bytes)
          rows = bytes.unpack("a#{3 * width}" * (bytes.bytesize / (3 * width)))
          chunks = { "IHDR" => [width, rows.size, 8, 2, 0, 0, 0].pack("NNC5"),
                     "IDAT" => Zlib.deflate(rows.map { |row| "\0".b + row }.join), "IEND" => "" }
          PNG + chunks.map { |kind, body| chunk(kind.b + body) }.join
        end

        def chunk(content) = [content.bytesize - 4].pack("N") + content + [Zlib.crc32(content)].pack("N")
      end
    end
    private_constant :Drawing
  end
end
