# frozen_string_literal: true

require_relative "image/pixels"
require_relative "image/orientation"
require_relative "image/jpeg"
require_relative "image/png"
require_relative "image/webp"
require_relative "image/gif"
require_relative "image/bmp"

module Transfer
  module Onnx
    # Image files as upright RGB pixels, decoded like those of the worker (`data/decode.py` of the core).
    module Image
      # The reason why an image can't be used.
      class Unreadable < StandardError; end

      FORMATS = { "\xff\xd8\xff".b => Jpeg, Png::SIGNATURE => Png, "GIF87a".b => Gif, "GIF89a".b => Gif,
                  "BM".b => Bmp }.freeze
      # Formats that are recognized, not read: their first bytes.
      OTHERS = { "II*\0".b => "TIFF", "MM\0*".b => "TIFF", "\xff\x0a".b => "JPEG XL", "\0\0\0\x0cJXL ".b => "JPEG XL",
                 "\0\0\0\x0cjP  ".b => "JPEG 2000", "8BPS".b => "Photoshop" }.freeze
      BRANDS = { /\Aavi[fs]/n => "AVIF", /\A(?:hei|hev|mif|msf)/n => "HEIC" }.freeze
      EXPECTED = "expected JPEG, PNG, WebP, GIF or BMP"
      # Defaults of the limits (docs/guides/operate.md).
      MOST_BYTES = 128_000_000
      MOST_PIXELS = 8192 * 8192
      private_constant :FORMATS, :OTHERS, :BRANDS, :EXPECTED, :MOST_BYTES, :MOST_PIXELS

      class << self
        # @param input [String] a path, or bytes (binary)
        # @param at_least [Integer, nil] a JPEG may be decoded at 1/8, 1/4 or 1/2 if both sides keep this length
        # @return [Raster] RGB
        # @raise [Unreadable]
        # @raise [DependencyError] without the library of its format
        def decode(input, at_least = nil) = decode_sized(input) { at_least }.first

        # @param input (see .decode)
        # @yieldparam width [Integer] as stored, before it is turned
        # @yieldparam height [Integer]
        # @yieldreturn [Integer, nil] `at_least` of {.decode}
        # @return [Array(Raster, Array(Integer, Integer))] the image, and the width and height of the upright image at
        #   full size
        # @raise (see .decode)
        def decode_sized(input)
          content = input.encoding == Encoding::BINARY ? input : read(input)
          check("max_image_bytes", content.bytesize, MOST_BYTES, "its #{content.bytesize} bytes")
          size = nil
          raster = decoder(content).decode(content) do |*sides|
            check("max_pixels", sides.inject(:*), MOST_PIXELS, "its #{sides.join(' x ')} pixels")
            size ||= sides
            yield(*sides)
          end
          # A turn by 90 degrees swaps the sides; a square image has equal ones.
          is_turned = (raster.width < raster.height) != (size[0] < size[1])
          [raster, is_turned ? size.reverse : size]
        end

        # @return [Hash{String => String, nil}] files of the libraries that decode JPEG and WebP, nil if missing
        def libraries = { "libturbojpeg" => Jpeg.library, "libwebp" => Webp.library }

        private

        # Opening a pipe must not block.
        def read(path)
          File.open(path, File::RDONLY | File::NONBLOCK | File::BINARY) do |file|
            raise Unreadable, "it is a folder, not an image" if file.stat.directory?
            raise Unreadable, "it is not a regular file" unless file.stat.file?

            file.read([file.size, Transfer.config.max_image_bytes || MOST_BYTES].min + 1).to_s
          end
        rescue Errno::ENOENT
          raise Unreadable, "no such file"
        rescue SystemCallError => error
          raise Unreadable, "it can't be read, #{error.class.new.message.downcase}"
        end

        def check(limit, found, default, described)
          allowed = Transfer.config.public_send(limit) || default
          return if found <= allowed

          raise Unreadable, "#{described} are more than #{limit} = #{allowed}. Fix: raise Transfer.config.#{limit} " \
                            "(TRANSFER_#{limit.upcase}), or use a smaller input"
        end

        def decoder(content)
          return Webp if content.byteslice(0, 4) == "RIFF" && content.byteslice(8, 4) == "WEBP"

          _, format = FORMATS.find { |signature, _| content.start_with?(signature) }
          format || raise(Unreadable, complaint(content))
        end

        def complaint(content)
          return "the file is empty" if content.empty?

          _, other = OTHERS.find { |signature, _| content.start_with?(signature) }
          if content.byteslice(4, 4) == "ftyp"
            _, other = BRANDS.find do |brand, _|
              content.byteslice(8, 4).match?(brand)
            end
          end
          return "it is not an image (#{EXPECTED})" unless other

          "#{other} images are not read without Python. Fix: convert it to JPEG or PNG (vips copy in.tif out.png)"
        end
      end
    end
  end
end
