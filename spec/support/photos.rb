# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require "zlib"

# Small photos, drawn with nothing but zlib.
module Photos
  COLORS = { "red" => [220, 40, 40], "green" => [40, 180, 60], "blue" => [40, 60, 220] }.freeze

  # @return [String] the bytes of a PNG of one colour with a little noise
  def png(color, random: Random.new(0), side: 32)
    rows = Array.new(side) do
      "\0".b + Array.new(side) { color.map { |c| (c + random.rand(-30..30)).clamp(0, 255) } }.flatten.pack("C*")
    end
    header = [side, side, 8, 2, 0, 0, 0].pack("NNC5")
    "\x89PNG\r\n\x1a\n".b + chunk("IHDR", header) + chunk("IDAT", Zlib.deflate(rows.join)) + chunk("IEND", "")
  end

  # A folder per colour with `count` photos each.
  def photo_folder(root, count: 10, colors: COLORS, seed: 1)
    random = Random.new(seed)
    colors.each do |name, color|
      FileUtils.mkdir_p(File.join(root, name))
      count.times { |i| File.binwrite(File.join(root, name, "#{i}.png"), png(color, random:)) }
    end
    root
  end

  private

  def chunk(type, data) = [data.bytesize].pack("N") + type + data + [Zlib.crc32(type + data)].pack("N")
end
