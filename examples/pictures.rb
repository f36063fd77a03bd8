# frozen_string_literal: true

require "zlib"

# Draws small pictures as PNG files, so that an example needs no data of its own.
module Pictures
  SIDE = 64

  class << self
    # A filled shape of some size and colour, somewhere on noisy paper.
    #
    # @param shape [Symbol] :disc, :square or :cross
    # @param radius [Float] half the width in pixels
    def shape(path, shape, radius:, random:)
      ink = Array.new(3) { random.rand(0..120) }
      x0, y0 = Array.new(2) { random.rand(radius..(SIDE - radius)) }
      png(path) do |x, y|
        paper = random.rand(200..255)
        inside?(shape, (x - x0).abs / radius, (y - y0).abs / radius) ? ink : [paper] * 3
      end
    end

    # Writes what the block says about each pixel: `[red, green, blue]`, 0 to 255.
    def png(path)
      rows = Array.new(SIDE) { |y| [0, *Array.new(SIDE) { |x| yield x, y }.flatten].pack("C*") }
      header = [SIDE, SIDE, 8, 2, 0, 0, 0].pack("NNC5") # 8 bits a channel, RGB
      File.binwrite(path, "\x89PNG\r\n\x1a\n".b + chunk("IHDR", header) + chunk("IDAT", Zlib.deflate(rows.join)) +
                          chunk("IEND", ""))
    end

    private

    # `across` and `down` are distances from the centre in units of the radius.
    def inside?(shape, across, down)
      case shape
      when :disc then (across**2) + (down**2) < 1
      when :square then [across, down].max < 0.9
      when :cross then [across, down].max < 1 && [across, down].min < 0.3
      end
    end

    def chunk(type, data) = [data.bytesize].pack("N") + type.b + data + [Zlib.crc32(type + data)].pack("N")
  end
end
