# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # The segments of a JPEG file before its pixels: orientation, and the number of scans.
      class JpegSegments
        # Markers of ITU-T T.81, table B.1; within the data of a scan a stuffed zero byte and a restart are none.
        MARKER = /\xff+([^\x00\xff\xd0-\xd7])/n
        WITHOUT_LENGTH = [0x01, *0xD0..0xD9].freeze
        FRAMES = [*0xC0..0xCF] - [0xC4, 0xC8, 0xCC]
        SEQUENTIAL = [0xC0, 0xC1, 0xC9].freeze
        START_OF_SCAN = 0xDA
        END_OF_IMAGE = 0xD9
        APP1 = 0xE1
        EXIF = "Exif\0\0".b
        XMP = "http://ns.adobe.com/xap/1.0/\0".b
        # A scan of 10 bytes makes the decoder go through all pixels: encoders write 10 to 20.
        MOST_SCANS = 100
        private_constant :MARKER, :WITHOUT_LENGTH, :FRAMES, :SEQUENTIAL, :START_OF_SCAN, :END_OF_IMAGE, :APP1, :EXIF,
                         :XMP, :MOST_SCANS

        # @param content [String] a JPEG file
        def initialize(content)
          @content = content
          @scans = @components = 0
        end

        # @return [Integer] the orientation
        # @raise [Unreadable] if there are too many scans
        def read
          each do |marker, place|
            case marker
            when APP1 then metadata(place)
            when *FRAMES then frame(marker, place)
            when START_OF_SCAN
              break if only_scan?(place)
              raise Unreadable, "it is a JPEG of more than #{MOST_SCANS} scans" if (@scans += 1) > MOST_SCANS
            end
          end
          Orientation.read(@exif, @xmp)
        end

        private

        # @yieldparam marker [Integer]
        # @yieldparam place [Integer] after it
        def each
          place = 2
          while (start = @content.byteindex(MARKER, place))
            marker = Regexp.last_match(1).getbyte(0)
            place = start + Regexp.last_match(0).bytesize
            yield marker, place
            return if marker == END_OF_IMAGE

            place += [2, length(place)].max unless WITHOUT_LENGTH.include?(marker)
            return if place >= @content.bytesize
          end
        end

        def length(place) = @content.byteslice(place, 2)&.unpack1("n").to_i

        def metadata(place)
          segment = @content.byteslice(place + 2, [length(place) - 2, 0].max).to_s
          @exif ||= segment.byteslice(EXIF.bytesize..) if segment.start_with?(EXIF)
          @xmp ||= segment if segment.start_with?(XMP)
        end

        def frame(marker, place)
          @is_sequential = SEQUENTIAL.include?(marker)
          @components = @content.getbyte(place + 7).to_i
        end

        # The decoder reads only the first scan of a sequential JPEG if that scan has all components.
        def only_scan?(place) = @scans.zero? && @is_sequential && @content.getbyte(place + 2) == @components
      end
      private_constant :JpegSegments
    end
  end
end
