# frozen_string_literal: true

require "csv"

RSpec.describe "Transfer::Input" do
  input = Transfer.const_get(:Input)

  define_method(:image) { |value| input.wire(value, "image") }
  define_method(:text) { |value| input.wire(value, "text") }
  define_method(:row) { |value| input.wire(value, "table") }
  define_method(:batches) { |values, modality| input::Batches.new(values, modality) }

  it "is a path from here, as text" do
    Dir.chdir("/tmp") { expect(image("a.jpg")).to eq("/tmp/a.jpg") }
    expect(image(Pathname("/x/../a.jpg"))).to eq("/a.jpg")
    expect(image("~/a.jpg")).to eq(File.join(Dir.home, "a.jpg"))
    expect(image("~a.jpg")).to eq(File.absolute_path("~a.jpg"))
    expect(image("BM_RIFF_GIF8.bmp").encoding).to eq(Encoding::UTF_8)
  end

  it "is the bytes of an image, however they are labelled" do
    { "anything".b => "binary text", "\xFF\xD8\xFFabc" => "a JPEG", "\x89PNG" => "a PNG",
      "RIFF\0\0WEBP" => "with NUL" }.each do |bytes, kind|
      expect(image(bytes).encoding).to eq(Encoding::BINARY), kind
      expect(image(bytes)).to eq(bytes.b)
    end
  end

  it "is bytes where it is labelled so, also if a file is called so: an upload opens no file" do
    expect(image("/etc/passwd".b).encoding).to eq(Encoding::BINARY)
    expect(image(Pathname("/etc/passwd".b))).to eq("/etc/passwd").and have_attributes(encoding: Encoding::UTF_8)
  end

  it "is what an attachment of Active Storage downloads" do
    expect(image(Struct.new(:download).new("pixels"))).to eq("pixels".b)
  end

  it "is what an IO holds" do
    Tempfile.create { |file| file << "ünd"; file.rewind; expect(image(file)).to eq("ünd".b) } # rubocop:disable Style/Semicolon
    expect(image(StringIO.new("x")).encoding).to eq(Encoding::BINARY)
  end

  it "is not read where it is too large" do
    Tempfile.create do |file|
      file.truncate(200_000_000)
      expect { image(file) }.to raise_error(Transfer::DataError, /\Aan image of 200000000 bytes, at most 62914560 can/)
      expect { text(file) }.to raise_error(Transfer::DataError, /\Aa text of 200000000 bytes, at most 62914560 can/)
      expect(file.pos).to eq(0)
    end
  end

  it "is read no further than it can be sent where its size is not known" do
    IO.popen(%w[yes]) do |endless|
      expect { image(endless) }.to raise_error(Transfer::DataError, /\Aan image of 62914561 bytes, at most 62914560/)
      Process.kill("KILL", endless.pid)
    end
    reader, writer = IO.pipe("ISO-8859-1")
    writer << "ünd".encode("ISO-8859-1")
    writer.close
    expect(text(reader)).to eq("ünd")
    reader.close
  end

  it "is quoted in messages without its middle where it is long" do
    long = "/#{"\xE9" * 5_000_000}.jpg"
    [-> { image(long) }, -> { image("https://#{'a' * 5_000_000}") }, -> { text(long) }]
      .each { |ask| expect(&ask).to raise_error(Transfer::DataError) { |e| expect(e.message.size).to be < 4000 } }
    expect { row({ "#{"c" * 5_000_000}": Object.new }) }
      .to raise_error(ArgumentError) { |e| expect(e.message.size).to be < 600 }
    expect { row({ id: 10**20_000 }) }.to raise_error(ArgumentError) { |e| expect(e.message.size).to be < 200 }
  end

  it "is nothing else" do
    expect { image(nil) }
      .to raise_error(ArgumentError, "an input is a path, an IO or the bytes of an image, got NilClass")
  end

  it "is no URL, and no path that can't be one" do
    [["https://a.de/b.jpg", "https://a.de/b.jpg is a URL, expected a file. Fix: download it first"],
     [Pathname("\xE9.jpg"), '"\xE9.jpg" can\'t be used as a path: "\xE9.jpg" is not valid UTF-8']]
      .each { |wrong, message| expect { image(wrong) }.to raise_error(Transfer::DataError, message) }
    expect { input.path("a\0b") }.to raise_error(Transfer::DataError, /can't be used as a path: .*null byte/)
  end

  it "travels in messages of at most 256 inputs and 16 MiB" do
    expect(batches(Array.new(600, "/a"), "image").map(&:size).to_a).to eq([256, 256, 88])
    expect(batches(Array.new(5) { "\0".b * 6_000_000 }, "image").map(&:size).to_a).to eq([2, 2, 1])
    expect(batches([], "image").to_a).to eq([])
  end

  it "is read when its turn comes" do
    read = []
    ios = Array.new(300) { |i| Object.new.tap { |io| io.define_singleton_method(:read) { read << i; "\0" } } } # rubocop:disable Style/Semicolon
    batches(ios, "image").first
    expect(read.size).to eq(256)
  end

  it "is named if it is one of several that is wrong" do
    wrong = ->(values, modality) { raise batches(values, modality).to_a.flatten.filter_map(&:error).first }
    [[["a", "caf\xE9"], "text", Transfer::DataError, 'text 2 of 2: "caf\xE9" is not valid UTF-8'],
     [["caf\xE9"], "text", Transfer::DataError, '"caf\xE9" is not valid UTF-8'],
     [["/a", "/b", ""], "image", Transfer::DataError, "image 3 of 3: an empty path, expected a file or a folder"],
     [[5, { a: 1 }], "table", ArgumentError, /\Arow 1 of 2: an input is a row: .*, got Integer\z/]]
      .each { |values, kind, error, message| expect { wrong.call(values, kind) }.to raise_error(error, message) }
  end

  it "is counted among all, whichever message it was in" do
    { "text 44 of 44: the text is empty" => "text 300 of 301: the text is empty",
      "the row: age is missing" => "text 257 of 301: age is missing",
      "/image 1 of 2: x.png: no such file" => "/image 1 of 2: x.png: no such file" }.each do |said, meant|
        all = batches(["a"] * 301, "text")
        expect(all.recount(said, all.to_a.last)).to eq(meant)
      end
    all = batches(["a"].each, "text")
    expect(all.recount("the text: it is empty", all.first)).to eq("text 1: it is empty")
  end

  context "when the backbone takes texts" do
    it "is the text, in UTF-8, and never a path" do
      expect(text("great/movie.jpg")).to eq("great/movie.jpg")
      expect(text("caf\u00E9".encode("ISO-8859-1"))).to eq("caf\u00E9")
      expect(text("caf\u00E9".b).encoding).to eq(Encoding::UTF_8)
      expect(text(StringIO.new("read"))).to eq("read")
      expect(text(:word)).to eq("word")
    end

    it "is a pair of texts" do
      expect(text(["Who?", "Me."])).to eq(["Who?", "Me."])
      expect { text(%w[a b c]) }.to raise_error(ArgumentError, /or an Array of two, got an Array of 3\z/)
    end

    it "is nothing else" do
      expect { text(5) }.to raise_error(ArgumentError, "an input is a text, or an Array of two, got Integer")
      expect { text(Pathname("a")) }.to raise_error(ArgumentError, /got Pathname/)
      expect { text("\xFF") }.to raise_error(Transfer::DataError, '"\xFF" is not valid UTF-8')
    end
  end

  context "when the backbone takes rows of a table" do
    it "is a Hash of cells, or a record" do
      cells = { "age" => 3, "price" => 2.5, "city" => "Ulm", "open" => true, "note" => nil }
      expect(row(cells.transform_keys(&:to_sym))).to eq(cells)
      expect(row(Struct.new(:attributes).new(cells))).to eq(cells)
      expect(row({ "day" => Time.utc(2024, 2, 3), "sum" => Rational(1, 4), "kind" => :new }))
        .to eq({ "day" => "2024-02-03T00:00:00Z", "sum" => 0.25, "kind" => "new" })
    end

    it "is what has cells by name" do
      cells = { "age" => 3, "city" => "Ulm" }
      expect(row(CSV.parse("age,city\n3,Ulm\n", headers: true, converters: :numeric).first)).to eq(cells)
      expect(row(Struct.new(:age, :city).new(3, "Ulm"))).to eq(cells)
      expect(row(Data.define(:age, :city).new(3, "Ulm"))).to eq(cells)
      [nil, [["age", 3]], Set[3]].each { |list| expect { row(list) }.to raise_error(ArgumentError, /#{list.class}\z/) }
    end

    it "is nothing else" do
      expect { row("a.csv") }.to raise_error(ArgumentError, /\Aan input is a row: a Hash of columns, or a record, got/)
      expect { row({ a: [1] }) }.to raise_error(
        ArgumentError, "a: a cell is text, a number, true, false, a time or nil; got Array"
      )
    end

    it "travels in messages of at most 16 MiB, as texts do" do
      expect(batches(Array.new(5) { { a: "x" * 6_000_000 } }, "table").map(&:size).to_a).to eq([2, 2, 1])
      expect(batches(Array.new(5) { ["x" * 3_000_000] * 2 }, "text").map(&:size).to_a).to eq([2, 2, 1])
    end
  end
end
