# frozen_string_literal: true

require_relative "../shared_library"

module Transfer
  module Onnx
    module Image
      # WebP files (RFC 9649), decoded by libwebp; of an animation the first frame.
      module Webp
        LIBRARIES = %w[libwebp.so.7 libwebp.so libwebp.7.dylib libwebp.dylib /opt/homebrew/lib/libwebp.dylib].freeze
        FIX = "Fix: apt-get install libwebp7 (macOS: brew install webp), or convert the image to PNG"
        private_constant :LIBRARIES, :FIX

        @mutex = Mutex.new

        class << self
          # @param content [String]
          # @yieldparam width [Integer]
          # @yieldparam height [Integer] before the memory for them is taken
          # @return [Raster] RGB, upright
          # @raise [Unreadable]
          # @raise [DependencyError] without libwebp
          def decode(content, &)
            chunks = chunks(content, 12)
            extended = chunks["VP8X"]
            yield(*canvas(extended)) if extended
            raster = extended && chunks["ANMF"] ? first_frame(canvas(extended), chunks["ANMF"], &) : pixels(content, &)
            Pixels.upright(Pixels.rgb(raster), Orientation.read(chunks["EXIF"], chunks["XMP "]))
          end

          # @return [String, nil] the file of libwebp
          def library = SharedLibrary.open(LIBRARIES)&.path

          private

          # @return [Hash{String => String}] the first chunk of each kind; those of a damaged end are missing
          def chunks(content, place)
            found = {}
            while (kind, size = content.byteslice(place, 8)&.unpack("a4V")) && size
              found[kind] ||= content.byteslice(place + 8, size)
              place += 8 + size + (size & 1)
            end
            found
          end

          # Of 24 bits.
          def number(bytes, place)
            bytes.byteslice(place, 3).unpack("C3").each_with_index.sum do |byte, i|
              byte << (8 * i)
            end
          end

          def canvas(extended)
            raise Unreadable, "it is damaged" if extended.bytesize < 10

            [4, 7].map { |place| 1 + number(extended, place) }
          end

          # The frame on its canvas, which is transparent around it.
          def first_frame((width, height), frame, &)
            raise Unreadable, "it is damaged" if frame.bytesize < 16

            left, top = [0, 3].map { |place| 2 * number(frame, place) }
            inner = pixels(riff(frame.byteslice(16..)), &)
            return inner if [inner.width, inner.height] == [width, height]

            fits = left + inner.width <= width && top + inner.height <= height
            raise Unreadable, "it is damaged" unless fits

            on_canvas(inner, left, top, [width, height])
          end

          def on_canvas(inner, left, top, (width, height))
            bytes = "\0".b * (width * height * 4)
            inner.height.times do |y|
              row = inner.bytes.byteslice(4 * inner.width * y, 4 * inner.width)
              bytes.bytesplice(4 * (((top + y) * width) + left), row.bytesize, row)
            end
            Raster.new(width:, height:, channels: 4, bytes:)
          end

          # A file of one frame's chunks; libwebp needs a header that announces the one of transparency.
          def riff(body)
            alpha = chunks(body, 0).key?("ALPH")
            image = chunks(body, 0)["VP8 "]
            if alpha && image
              width, height = image.byteslice(6, 4).to_s.ljust(4, "\0".b).unpack("vv").map do |side|
                (side & 0x3fff) - 1
              end
              extended = [16, 0, 0, 0, *[width, height].flat_map { |side| [side & 255, side >> 8, 0] }].pack("C*")
              body = "VP8X#{[10].pack('V')}".b + extended + body
            end
            ["RIFF", 4 + body.bytesize, "WEBP"].pack("a4Va4") + body
          end

          def pixels(content)
            sides = Array.new(2) { Fiddle::Pointer["\0\0\0\0".b] } if (library = functions)
            raise Unreadable, "it is damaged" if library[:info].call(content, content.bytesize, *sides).zero?

            width, height = sides.map { |side| side[0, 4].unpack1("l") }
            yield width, height
            bytes = "\0".b * (width * height * 4)
            done = library[:decode].call(content, content.bytesize, bytes, bytes.bytesize, 4 * width)
            raise Unreadable, "it is damaged or truncated" if done.null?

            Raster.new(width:, height:, channels: 4, bytes:)
          end

          def functions
            @mutex.synchronize do
              @functions ||= begin
                library = SharedLibrary.open(LIBRARIES) or
                  raise DependencyError, "WebP files need libwebp, which was not found. #{FIX}"
                pointer = Fiddle::TYPE_VOIDP
                size = Fiddle::TYPE_SIZE_T
                { info: library.function("WebPGetInfo", [pointer, size, pointer, pointer]),
                  decode: library.function("WebPDecodeRGBAInto", [pointer, size, pointer, size, Fiddle::TYPE_INT],
                                           pointer) }
              end
            end
          end
        end
      end
      private_constant :Webp
    end
  end
end
