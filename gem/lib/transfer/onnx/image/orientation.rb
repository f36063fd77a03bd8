# frozen_string_literal: true

module Transfer
  module Onnx
    module Image
      # The orientation of a photo in its EXIF or XMP data. Damaged data are ignored.
      module Orientation
        TAG = 0x0112 # EXIF 2.3, table 4
        HEADER = "Exif\0\0".b
        XMP = /tiff:Orientation(?:="|>)([0-9])/n
        # Entries of a directory that are read.
        MOST_ENTRIES = 1000
        private_constant :TAG, :HEADER, :XMP, :MOST_ENTRIES

        class << self
          # @param exif [String, nil] a TIFF structure
          # @param xmp [String, nil]
          # @return [Integer] 1 to 8; 1 if it is unknown
          def read(exif, xmp = nil)
            found = (exif && of_exif(exif.delete_prefix(HEADER))) || (xmp && xmp.b[XMP, 1]&.to_i)
            (1..8).cover?(found) ? found : 1
          end

          private

          # @return [Integer, nil]
          def of_exif(tiff)
            short, long = { "II" => %w[v V], "MM" => %w[n N] }[tiff.byteslice(0, 2)]
            return unless short

            start = tiff.byteslice(4, 4)&.unpack1(long).to_i
            count = start < 8 ? 0 : tiff.byteslice(start, 2)&.unpack1(short).to_i
            entries = Array.new([count, MOST_ENTRIES].min) { |i| tiff.byteslice(start + 2 + (12 * i), 12).to_s }
            entries.find do |entry|
              entry.bytesize == 12 && entry.unpack1(short) == TAG
            end&.then { |entry| value(entry, short, long) }
          end

          # @return [Integer, nil] of an entry with one number
          def value(entry, short, long)
            type, count = entry.byteslice(2, 6).unpack(short + long)
            directive = { 3 => short, 4 => long }[type]
            entry.byteslice(8, 4).unpack1(directive) if directive && count == 1
          end
        end
      end
      private_constant :Orientation
    end
  end
end
