# frozen_string_literal: true

RSpec.describe "Transfer::Input" do
  input = Transfer.const_get(:Input)

  it "is a path from here, as text" do
    Dir.chdir("/tmp") { expect(input.wire("a.jpg")).to eq("/tmp/a.jpg") }
    expect(input.wire(Pathname("/x/../a.jpg"))).to eq("/a.jpg")
    expect(input.wire("~/a.jpg")).to eq(File.join(Dir.home, "a.jpg"))
    expect(input.wire("~a.jpg")).to eq(File.absolute_path("~a.jpg"))
    expect(input.wire("BM_RIFF_GIF8.bmp").encoding).to eq(Encoding::UTF_8)
  end

  it "is the bytes of an image, however they are labelled" do
    { "anything".b => "binary text", "\xFF\xD8\xFFabc" => "a JPEG", "\x89PNG" => "a PNG",
      "RIFF\0\0WEBP" => "with NUL" }.each do |bytes, kind|
      expect(input.wire(bytes).encoding).to eq(Encoding::BINARY), kind
      expect(input.wire(bytes)).to eq(bytes.b)
    end
  end

  it "is what an IO holds" do
    Tempfile.create { |file| file << "ünd"; file.rewind; expect(input.wire(file)).to eq("ünd".b) } # rubocop:disable Style/Semicolon
    expect(input.wire(StringIO.new("x")).encoding).to eq(Encoding::BINARY)
  end

  it "is nothing else" do
    expect { input.wire(nil) }
      .to raise_error(ArgumentError, "an input is a path, an IO or the bytes of an image, got NilClass")
  end

  it "is no URL, and no path that can't be one" do
    [["https://a.de/b.jpg", "https://a.de/b.jpg is a URL, expected a file: download it first"],
     [Pathname("\xE9.jpg"), '"\xE9.jpg" can\'t be used as a path: "\xE9.jpg" is not valid UTF-8']]
      .each { |wrong, message| expect { input.wire(wrong) }.to raise_error(Transfer::DataError, message) }
    expect { input.path("a\0b") }.to raise_error(Transfer::DataError, /can't be used as a path: .*null byte/)
  end

  it "travels in messages of at most 256 inputs and 16 MiB" do
    expect(input.batches(Array.new(600, "/a")).map(&:size).to_a).to eq([256, 256, 88])
    expect(input.batches(Array.new(5) { "\0".b * 6_000_000 }).map(&:size).to_a).to eq([2, 2, 1])
    expect(input.batches([]).to_a).to eq([])
  end

  it "is read when its turn comes" do
    read = []
    ios = Array.new(300) { |i| Object.new.tap { |io| io.define_singleton_method(:read) { read << i; "\0" } } } # rubocop:disable Style/Semicolon
    input.batches(ios).first
    expect(read.size).to eq(257)
  end
end
