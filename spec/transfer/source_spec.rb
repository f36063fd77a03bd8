# frozen_string_literal: true

require "csv"

require "logger"

RSpec.describe "Transfer::Source" do
  def source(data, **) = Transfer.const_get(:Source).new(data, **)

  # Pulls the stream through a real worker and a real socket.
  def pull(data, max: 3, **params)
    columns = params.delete(:columns)
    source = source(data, columns:)
    params = { "stream" => source.wire.fetch("stream"), "max" => max, **params.transform_keys(&:to_s) }
    worker.call("rows", params, streams: source.streams).value(20)
  end

  def rows(count) = Array.new(count) { |i| { input: "/p/#{i}.jpg", label: "a" } }

  # Counts how far it was pulled, and whether it was left properly.
  def counted(count = Float::INFINITY)
    seen = { pulled: 0 }
    rows = Enumerator.new do |out|
      (1..count).each do |i|
        seen[:pulled] = i
        out << { input: "/p/#{i}.jpg", label: i }
      end
    ensure
      seen[:left] = true
    end
    [rows, seen]
  end

  it "passes paths on, from here" do
    expect(source("photos/").wire).to eq(File.absolute_path("photos"))
    expect(source(Pathname("~/photos")).wire).to eq(File.expand_path("~/photos"))
    expect(source({ train: "a", "test" => Pathname("/b") }).wire)
      .to eq({ "train" => File.absolute_path("a"), "test" => "/b" })
  end

  it "leaves what it does not know to the core" do
    expect(source(5).wire).to eq(5)
    expect(source({ "type" => "path", "path" => "x" }).wire).to eq({ "type" => "path", "path" => "x" })
    misspelt = source({ "train" => "/a", "vaild" => Enumerator.new { raise "touched" } })
    expect([misspelt.wire, misspelt.streams]).to eq([{ "train" => "/a", "vaild" => { "stream" => "rows" } }, {}])
    expect(source(rows(1), columns: "x").streams.size).to eq(1)
  end

  it "gives every stream a name of its own" do
    sources = [source({ train: rows(1), test: rows(1) }), source(rows(1))]
    names = sources.flat_map { |source| source.streams.keys }
    expect(names.uniq.size).to eq(3)
    expect(sources.first.wire.values.map { |split| split["stream"] }).to eq(names.first(2))
  end

  it "hands out the rows of anything that can be iterated" do
    iterable = Struct.new(:rows) { def each(&) = rows.each(&) }.new(rows(7))
    [rows(7), rows(7).each, rows(7).lazy, Set.new(rows(7)), iterable].each do |data|
      result = pull(data)
      expect(result["rows"]).to eq(Array.new(7) { |i| { "input" => "/p/#{i}.jpg", "label" => "a" } })
      expect(result["requests"]).to eq(3)
    end
  end

  it "ends when the rows are a multiple of what is asked for, and when there are none" do
    expect(pull(rows(6)).then { |result| [result["rows"].size, result["requests"]] }).to eq([6, 3])
    expect(pull([]).then { |result| [result["rows"].size, result["requests"]] }).to eq([0, 1])
  end

  it "pulls no row before it is asked for" do
    data, seen = counted
    expect(pull(data, max: 4, stop_after: 2)["rows"].size).to eq(8)
    expect(seen[:pulled]).to eq(8)
    expect(eventually { seen[:left] }).to be(true)
  end

  it "reads an Active Record relation with find_each, naming columns" do
    record = Struct.new(:file, :species, :fold)
    records = [record.new("/a.jpg", :cat, :test), record.new("/b.jpg", "dog")]
    relation = Class.new do
      define_method(:find_each) { |&block| records.each(&block) }
      def each = raise("loads all records at once")
    end.new
    expect(pull(relation, columns: { "input" => "file", "target" => "species", "split" => "fold" })["rows"]).to eq(
      [{ "input" => "/a.jpg", "label" => "cat", "split" => "test" }, { "input" => "/b.jpg", "label" => "dog" }]
    )
  end

  it "takes paths, IOs and bytes as inputs and names, numbers and lists as labels" do
    data = [
      { "input" => Pathname("/a.jpg"), "label" => :cat },
      { input: StringIO.new("\xFF\xD8\xFF"), label: 1.5 },
      { input: "\x89PNG\0".b, label: [1, 2.5], split: :valid }
    ]
    expect(pull(data)["rows"]).to eq(
      [
        { "input" => "/a.jpg", "label" => "cat" }, { "input" => "\xFF\xD8\xFF".b, "label" => 1.5 },
        { "input" => "\x89PNG\0".b, "label" => [1, 2.5], "split" => "valid" }
      ]
    )
    expect(pull([{ input: "/a.jpg", x: 1, y: 2 }], columns: { "target" => %w[x y] })["rows"])
      .to eq([{ "input" => "/a.jpg", "label" => [1, 2] }])
  end

  it "takes pairs of texts by their usual words" do
    rows = Transfer.const_get(:Source).const_get(:Rows).new([{ source: "Save", target: "Gardar" }, %w[Open Abrir]])
    expect(rows.enum_for(:each, "text").to_a)
      .to eq([{ "input" => "Save", "label" => "Gardar" }, { "input" => "Open", "label" => "Abrir" }])
  end

  it "takes boxes in place of a label, from hashes and from objects" do
    box = { "label" => "stop", "x" => 1, "y" => 2.5, "width" => 3, "height" => 4 }
    record = Struct.new(:label, :x, :y, :width, :height, :id)
    photo = Struct.new(:input, :boxes)
    data = [{ input: "/a.jpg", boxes: [box.transform_keys(&:to_sym)] }, { "input" => "/b.jpg", "boxes" => [] },
            photo.new("/c.jpg", [record.new(:stop, 1, 2.5, 3, 4, 7)])]
    expect(pull(data)["rows"]).to eq(
      [{ "input" => "/a.jpg", "boxes" => [box] }, { "input" => "/b.jpg", "boxes" => [] },
       { "input" => "/c.jpg", "boxes" => [box] }]
    )
    expect { pull([{ input: "/a.jpg", boxes: 3 }]) }
      .to raise_error(Transfer::DataError, "row 1: boxes is Integer, expected a list")
    expect { pull([{ input: "/a.jpg", boxes: [{ x: Object.new }] }]) }
      .to raise_error(Transfer::DataError, "row 1: a box is { label:, x:, y:, width:, height: }; got Object")
  end

  it "reads a CSV, whose other columns are the cells of a table's row" do
    table = CSV.parse("rooms,city,label\n3,Ulm,1.5\n", headers: true, header_converters: :symbol, converters: :numeric)
    expect(pull(table, columns: { "input" => "city" })["rows"].first).to include("label" => 1.5)
    rows = Transfer.const_get(:Source).const_get(:Rows).new(table)
    expect(rows.enum_for(:each, "table").to_a).to eq([{ "input" => { "rooms" => 3, "city" => "Ulm" }, "label" => 1.5 }])
  end

  it "asks an object's methods before its `to_hash`, and a CSV's columns whatever they are called" do
    record = Struct.new(:input, :label) { def to_hash = { id: 1, label: "raw", split: "test" } }
    expect(pull([record.new("/a.jpg", "cat")])["rows"])
      .to eq([{ "input" => "/a.jpg", "label" => "cat", "split" => "test" }])
    table = CSV.parse("size,class\n/a.jpg,cat\n", headers: true)
    expect(pull(table, columns: { "input" => "size", "target" => "class" })["rows"])
      .to eq([{ "input" => "/a.jpg", "label" => "cat" }])
  end

  it "keeps a message within its bounds" do
    data = Array.new(6) { { input: "\0".b * 6_000_000, label: "a" } }
    result = pull(data, max: 100)
    expect([result["rows"].size, result["requests"]]).to eq([6, 3])
  end

  it "gives back what the rows raise" do
    failure = Class.new(StandardError)
    data = Enumerator.new do |out|
      out << rows(1).first
      raise failure, "the disk is gone"
    end
    expect { pull(data) }.to raise_error(failure, "the disk is gone")
  end

  it "fails the call where the rows raise, and does not cancel it: there is nothing to go on with" do
    source = source(Enumerator.new { raise KeyError, "no such photo" })
    trace = bridge::Connection::Trace.new(Logger.new(log = StringIO.new))
    call = worker(trace:).call("rows", { "stream" => source.wire["stream"], "max" => 3 }, streams: source.streams)
    expect { call.value(20) }.to raise_error(KeyError, "no such photo")
    expect(log.string).not_to include("-> cancel")
  end

  it "names the row that is wrong" do
    expect { pull([*rows(2), { label: "a" }]) }
      .to raise_error(Transfer::DataError, /\Arow 3 has no input: its columns are label\. Fix: give pairs/)
    expect { pull([{ input: 5, label: "a" }]) }.to raise_error(
      Transfer::DataError, "row 1: an input is a path, an IO or the bytes of an image, got Integer"
    )
  end

  [
    ["a time", -> { Time.at(0) }, "row 2: a label is text, a number or a list of these; got Time"],
    ["a number too large", -> { 2**64 },
     "row 2: a label is text, a number or a list of these; 18446744073709551616 has more than 64 bits"],
    ["no text", -> { "\xFF" },
     'row 2: a label is text, a number or a list of these; "\xFF" is not valid UTF-8']
  ].each do |what, label, message|
    it "names the row whose label is #{what}" do
      expect { pull([*rows(1), { input: "/a.jpg", label: label.call }]) }
        .to raise_error(Transfer::DataError, message)
    end
  end

  it "sends the problem in place of an input that can't be sent" do
    [["", "an empty path, expected a file or a folder"],
     ["\xFF.png", '"\xFF.png" can\'t be used as a path: "\xFF.png" is not valid UTF-8'],
     ["\0".b * ((60 * 1024 * 1024) + 1),
      "an image of 62914561 bytes, at most 62914560 can be sent: give its path"]].each do |input, message|
      expect(pull([*rows(1), { input:, label: "a", split: :test }])["rows"].last)
        .to eq({ "problem" => message, "name" => "row 2", "label" => "a", "split" => "test" })
    end
  end

  it "sends any number, and text of any encoding" do
    data = [
      { input: "/a", label: Rational(1, 4) },
      { input: "/caf\u00E9".encode("UTF-16LE"), label: "\u00E9".encode("ISO-8859-1") },
      { input: "/caf\u00E9".dup.force_encoding("US-ASCII"), label: "\u00E9".b }
    ]
    expect(pull(data)["rows"].map(&:values)).to eq([["/a", 0.25], ["/caf\u00E9", "\u00E9"], ["/caf\u00E9", "\u00E9"]])
  end

  it "ends the call when a row can't be sent" do
    heavy = { input: "/a", label: "x" * (65 * 1024 * 1024) }
    expect { pull([heavy]) }.to raise_error(Transfer::ProtocolError, /\Aframe of \d+ bytes, at most 67108864/)
  end

  it "does not let a slow source hold up other calls" do
    gate = Queue.new
    source = source(Enumerator.new { |out| 2.times { |i| out << { input: "/#{i}", label: i + gate.pop } } })
    worker = worker()
    worker.call("pid", {}).value(20)
    pulling = worker.call("rows", { "stream" => source.wire["stream"], "max" => 9 }, streams: source.streams)
    expect(worker.call("pid", {}).value(20)).to be_a(Integer)
    2.times { gate << 0 }
    expect(pulling.value(20)["rows"].size).to eq(2)
  end

  [
    ["yields forever", -> { Enumerator.produce({ input: "/a", label: 1 }) { |row| row } }],
    ["never yields", -> { Enumerator.new { sleep } }],
    ["turns in circles", -> { Enumerator.new { loop { nil } } }]
  ].each do |habit, make|
    it "leaves a source that #{habit} when the call is cancelled" do
      source = source(make.call)
      call = worker.call("train", {}, streams: source.streams)
      source.streams.each_value { |stream| stream.request(3) { nil } }
      sleep 0.05
      call.cancel
      expect { call.value(5) }.to raise_error(Transfer::Cancelled)
      expect(eventually { Thread.list.none? { |thread| thread.name == "transfer-rows" } }).to be(true)
    end
  end

  it "answers every request for rows, also of a call that has ended" do
    source = source(Enumerator.new { sleep })
    worker = worker()
    worker.call("ask_and_go", { "stream" => source.wire["stream"], "max" => 1 }, streams: source.streams).value(20)
    error, = worker.call("reply", {}).value(20)
    expect(error).to include("type" => "Cancelled", "message" => "the call has ended")
  end

  it "serves several streams of one call, and one source twice" do
    data = rows(4)
    sources = Array.new(2) { source(data) }
    worker = worker()
    calls = sources.map do |source|
      worker.call("rows", { "stream" => source.wire["stream"], "max" => 1 }, streams: source.streams)
    end
    expect(calls.map { |call| call.value(20)["rows"].size }).to eq([4, 4])
  end
end
