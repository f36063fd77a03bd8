# frozen_string_literal: true

require_relative "../shared_library"
require_relative "jpeg_segments"

module Transfer
  module Onnx
    module Image
      # JPEG files, decoded by libturbojpeg.
      class Jpeg
        LIBRARIES = %w[libturbojpeg.so.0 libturbojpeg.so libturbojpeg.0.dylib libturbojpeg.dylib
                       /opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.dylib].freeze
        FIX = "Fix: apt-get install libturbojpeg0 (macOS: brew install jpeg-turbo), or convert the image to PNG"
        SCALES = [8, 4, 2, 1].freeze
        # Pixel formats of TurboJPEG, and its numbers for CMYK and YCCK files.
        RGB = 0
        CMYK = 11
        INKS = [3, 4].freeze
        private_constant :LIBRARIES, :FIX, :SCALES, :RGB, :CMYK, :INKS

        @mutex = Mutex.new

        class << self
          # @param content [String]
          # @yieldparam width [Integer]
          # @yieldparam height [Integer] before the memory for them is taken
          # @yieldreturn [Integer, nil] the file is decoded at 1/8, 1/4 or 1/2 if both sides keep this length
          # @return [Raster] RGB, upright
          # @raise [Unreadable]
          # @raise [DependencyError] without libturbojpeg
          def decode(content, &)
            orientation = JpegSegments.new(content).read
            raster = new(content, functions).decompress(&)
            Pixels.upright(raster.channels == 4 ? Pixels.of_inks(raster) : raster, orientation)
          end

          # @return [String, nil] the file of libturbojpeg
          def library = SharedLibrary.open(LIBRARIES)&.path

          private

          # @return [Hash{Symbol => Fiddle::Function}]
          def functions
            @mutex.synchronize do
              @functions ||= begin
                library = SharedLibrary.open(LIBRARIES)
                unless library&.function?("tjDecompressHeader3")
                  raise DependencyError, "JPEG files need libturbojpeg, which was not found. #{FIX}"
                end

                bind(library)
              end
            end
          end

          def bind(library)
            pointer = Fiddle::TYPE_VOIDP
            size = -Fiddle::TYPE_LONG
            int = Fiddle::TYPE_INT
            {
              create: library.function("tjInitDecompress", [], pointer),
              header: library.function("tjDecompressHeader3", [pointer, pointer, size, *[pointer] * 4]),
              decompress: library.function("tjDecompress2", [pointer, pointer, size, pointer, *[int] * 5]),
              code: library.function("tjGetErrorCode", [pointer]),
              message: library.function("tjGetErrorStr2", [pointer], pointer),
              destroy: library.function("tjDestroy", [pointer])
            }
          end
        end

        # @param content [String]
        # @param library [Hash{Symbol => Fiddle::Function}]
        def initialize(content, library)
          @content = content
          @library = library
        end

        # @yieldparam (see Jpeg.decode)
        # @yieldreturn (see Jpeg.decode)
        # @return [Raster] RGB or CMYK
        # @raise [Unreadable]
        def decompress
          handle = @library[:create].call
          raise Unreadable, "there is no memory for its decoder" if handle.null?

          *size, space = header(handle)
          at_least = yield(*size)
          scale = SCALES.find { |each| each == 1 || (at_least && size.min / each >= at_least) }
          pixels(handle, size.map { |side| -(-side / scale) }, INKS.include?(space) ? [4, CMYK] : [3, RGB])
        ensure
          @library[:destroy].call(handle) unless handle.null?
        end

        private

        # @return [Array(Integer, Integer, Integer)] width, height, and TurboJPEG's number of the colour space
        def header(handle)
          found = Array.new(4) { Fiddle::Pointer["\0\0\0\0".b] }
          call(:header, handle, *found)
          width, height, _, space = found.map { |pointer| pointer[0, 4].unpack1("l") }
          raise Unreadable, "it is damaged" unless width.positive? && height.positive?

          [width, height, space]
        end

        def pixels(handle, (width, height), (channels, format))
          bytes = "\0".b * (width * height * channels)
          call(:decompress, handle, bytes, width, 0, height, format, 0)
          Raster.new(width:, height:, channels:, bytes:)
        end

        # Warnings are about damage that leaves an image, but for the end of the file.
        def call(name, handle, *arguments)
          return if @library[name].call(handle, @content, @content.bytesize, *arguments).zero?

          message = @library[:message].call(handle).to_s.scrub
          raise Unreadable, "the file is truncated" if message.include?("Premature end of")
          raise Unreadable, "it is damaged, #{message}" unless @library[:code].call(handle).zero?
        end
      end
      private_constant :Jpeg
    end
  end
end
