# frozen_string_literal: true

require_relative "../shared_library"

module Transfer
  module Onnx
    module Image
      # JPEG files, decoded by libturbojpeg.
      module Jpeg
        LIBRARIES = %w[libturbojpeg.so.0 libturbojpeg.so libturbojpeg.0.dylib libturbojpeg.dylib
                       /opt/homebrew/opt/jpeg-turbo/lib/libturbojpeg.dylib].freeze
        FIX = "Fix: apt-get install libturbojpeg0 (macOS: brew install jpeg-turbo), or convert the image to PNG"
        # Markers of ITU-T T.81, table B.1; within the data of a scan a stuffed zero byte and a restart are none.
        MARKER = /\xff+([^\x00\xff\xd0-\xd7])/n
        WITHOUT_LENGTH = [0x01, *0xD0..0xD9].freeze
        FRAMES = [*0xC0..0xCF] - [0xC4, 0xC8, 0xCC]
        SEQUENTIAL = [0xC0, 0xC1, 0xC9].freeze
        START_OF_SCAN, END_OF_IMAGE, APP1 = 0xDA, 0xD9, 0xE1 # rubocop:disable Style/ParallelAssignment
        XMP = "http://ns.adobe.com/xap/1.0/\0".b
        # A scan of 10 bytes makes the decoder go through all pixels: encoders write 10 to 20.
        MOST_SCANS = 100
        SCALES = [8, 4, 2].freeze
        # Pixel formats of TurboJPEG, and its number for CMYK and YCCK files.
        RGB, CMYK, INKS = 0, 11, [3, 4] # rubocop:disable Style/ParallelAssignment
        private_constant :LIBRARIES, :FIX, :MARKER, :WITHOUT_LENGTH, :FRAMES, :SEQUENTIAL, :START_OF_SCAN,
                         :END_OF_IMAGE, :APP1, :XMP, :MOST_SCANS, :SCALES, :RGB, :CMYK, :INKS

        @mutex = Mutex.new

        class << self
          # @param content [String]
          # @param at_least [Integer, nil] the file is decoded at 1/8, 1/4 or 1/2 if both sides keep this length
          # @yieldparam width [Integer]
          # @yieldparam height [Integer] before the memory for them is taken
          # @return [Raster] RGB, upright
          # @raise [Unreadable]
          # @raise [DependencyError] without libturbojpeg
          def decode(content, at_least, &)
            orientation = inspect_segments(content)
            raster = decompress(content, at_least, &)
            raster = Pixels.of_inks(raster) if raster.channels == 4
            Pixels.upright(raster, orientation)
          end

          private

          # Checks the number of scans.
          # @return [Integer] the orientation
          def inspect_segments(content)
            exif = xmp = nil
            scans = components = 0
            sequential = false
            each_segment(content) do |marker, place|
              if marker == APP1
                segment = content.byteslice(place + 2, [length(content, place) - 2, 0].max).to_s
                exif ||= segment.byteslice(6..) if segment.start_with?("Exif\0\0".b)
                xmp ||= segment if segment.start_with?(XMP)
              elsif FRAMES.include?(marker)
                sequential = SEQUENTIAL.include?(marker)
                components = content.getbyte(place + 7).to_i
              elsif marker == START_OF_SCAN
                # The decoder reads only the first scan of a sequential JPEG if that scan has all components.
                break if scans.zero? && sequential && content.getbyte(place + 2) == components
                raise Unreadable, "it is a JPEG of more than #{MOST_SCANS} scans" if (scans += 1) > MOST_SCANS
              end
            end
            Orientation.read(exif, xmp)
          end

          def each_segment(content)
            place = 2
            while (start = content.byteindex(MARKER, place))
              marker = Regexp.last_match(1).getbyte(0)
              place = start + Regexp.last_match(0).bytesize
              yield marker, place
              return if marker == END_OF_IMAGE

              place += [2, length(content, place)].max unless WITHOUT_LENGTH.include?(marker)
              return if place >= content.bytesize
            end
          end

          def length(content, place) = content.byteslice(place, 2)&.unpack1("n").to_i

          def decompress(content, at_least)
            library = functions
            handle = library[:create].call
            raise Unreadable, "there is no memory for its decoder" if handle.null?

            width, height, space = header(library, handle, content)
            yield width, height
            scale = SCALES.find { |each| at_least && [width, height].all? { |side| side / each >= at_least } } || 1
            width, height = [width, height].map { |side| -(-side / scale) }
            channels, format = INKS.include?(space) ? [4, CMYK] : [3, RGB]
            bytes = "\0".b * (width * height * channels)
            code = library[:decompress].call(handle, content, content.bytesize, bytes, width, 0, height, format, 0)
            check(library, handle) unless code.zero?
            Raster.new(width:, height:, channels:, bytes:)
          ensure
            library[:destroy].call(handle) if library && handle && !handle.null?
          end

          def header(library, handle, content)
            found = Array.new(4) { Fiddle::Pointer["\0\0\0\0".b] }
            code = library[:header].call(handle, content, content.bytesize, *found)
            width, height, _, space = found.map { |pointer| pointer[0, 4].unpack1("l") }
            check(library, handle) unless code.zero?
            raise Unreadable, "it is damaged" unless width.positive? && height.positive?

            [width, height, space]
          end

          # Warnings are about damage that leaves an image, but for the end of the file.
          def check(library, handle)
            message = library[:message].call(handle).to_s.scrub
            raise Unreadable, "the file is truncated" if message.include?("Premature end of")
            raise Unreadable, "it is damaged, #{message}" unless library[:code].call(handle).zero?
          end

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
            pointer, long, int = Fiddle::TYPE_VOIDP, -Fiddle::TYPE_LONG, Fiddle::TYPE_INT # rubocop:disable Style/ParallelAssignment
            {
              create: library.function("tjInitDecompress", [], pointer),
              header: library.function("tjDecompressHeader3", [pointer, pointer, long, *[pointer] * 4]),
              decompress: library.function("tjDecompress2", [pointer, pointer, long, pointer, int, int, int, int, int]),
              code: library.function("tjGetErrorCode", [pointer]),
              message: library.function("tjGetErrorStr2", [pointer], pointer),
              destroy: library.function("tjDestroy", [pointer])
            }
          end
        end
      end
    end
  end
end
