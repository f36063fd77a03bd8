# frozen_string_literal: true

# Pillow, by the decoder of the core, is the reference.
RSpec.describe "Images in Ruby", :folder do
  before(:context) { Exported.write("odd_images", @folder) }

  let(:image) { Exported.const_get(:Image) }
  let(:expected) { JSON.parse(File.read("#{@folder}/decoded.json")) }

  # @return [String, nil] the difference
  def difference(name, length, wanted)
    raster = image.decode("#{@folder}/#{name}", length.zero? ? nil : length)
    return "decoded, expected #{wanted}" if wanted.is_a?(String)
    return "size #{raster.width} x #{raster.height}, expected #{wanted}" if wanted != [raster.width, raster.height]

    "other pixels" if raster.bytes != File.binread("#{@folder}/#{name}.#{length}.rgb")
  rescue image::Unreadable => error
    "#{error.message}, expected #{wanted}" unless wanted.is_a?(String)
  end

  def differences(some = expected)
    some.filter_map do |key, wanted|
      name, length = key.split("|")
      found = difference(name, length.to_i, wanted)
      "#{key}: #{found}" if found
    end
  end

  it "are those of the core to the last bit, or refused where the core refuses them" do
    expect(expected.size).to be > 600
    expect(expected.each_value.grep(Array).size).to be > 500
    expect(differences).to eq([])
  end

  it "are the same without the part in C" do
    stub_const("Transfer::Native", nil)
    allow(Transfer).to receive(:native?).and_return(false)
    expect(differences(expected.select { |key, _| key.end_with?(".png|0") })).to eq([])
  end

  it "are limited before their pixels take memory" do
    Transfer.config.max_pixels = 1000
    %w[s2.jpg RGB.png lossy.webp moving.webp P.gif RGB.bmp].each do |name|
      expect { image.decode("#{@folder}/#{name}") }
        .to raise_error(image::Unreadable, /\Aits \d+ x \d+ pixels are more than max_pixels = 1000\. Fix: /), name
    end
  ensure
    Transfer.config.max_pixels = nil
  end

  it "are refused if they inflate to more than their size" do
    bomb = png([1, 2, 3], side: 4)
    data = Zlib.deflate("\0" * 100_000_000)
    bomb = bomb.sub(/....IDAT.*/mn) do
      [data.bytesize].pack("N") + "IDAT".b + data + [Zlib.crc32("IDAT#{data}".b)].pack("N")
    end
    expect(image.decode(bomb).bytes.bytesize).to eq(48)
  end

  it "need no library for PNG, GIF and BMP, and name it for others" do
    output, = Open3.capture2e(RbConfig.ruby, "-I", Scripts::LIB, "-r", "transfer", stdin_data: <<~RUBY)
      library = Transfer::Onnx.const_get(:SharedLibrary)
      library.singleton_class.prepend(Module.new { def open(names) = names.any? { |n| n.match?(/jpeg|webp/) } ? nil : super })
      %w[RGB.png P.gif RGB.bmp s2.jpg lossy.webp].each do |name|
        puts Transfer::Onnx.const_get(:Image).decode("#{@folder}/\#{name}").width
      rescue Transfer::DependencyError => error
        puts error.message
      end
    RUBY
    expect(output.lines(chomp: true)).to match_array(
      ["333", "333", "333", match(/\AJPEG files need libturbojpeg.*Fix: apt-get/),
       match(/\AWebP files need libwebp.*Fix: apt-get/)]
    )
  end
end
