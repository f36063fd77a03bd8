# frozen_string_literal: true

require_relative "../support/fuzz"

RSpec.describe "Invalid bytes" do
  frame = Transfer.const_get(:Bridge)::Framing

  it "are messages or a ProtocolError" do
    counts = Fuzz.new(seed: 1).run(3000)
    expect(counts.keys - %i[message protocol_error incomplete]).to eq([])
    expect(counts.values.sum).to eq(3000)
    expect(counts.values.min).to be > 100
  end

  it "that claim more members than they have are refused before memory is allocated" do
    { "\xdd\xff\xff\xff\xff" => "a list or map claims 4294967295 members in 0 bytes",
      "\xdf\x0f\xff\xff\xff\xc0" => "a list or map claims 536870910 members in 1 bytes",
      "\x92\xc4\x02\xdd\xdf\xdf\xff\xff\xff\xff" => "a list or map claims 8589934590 members in 0 bytes" }
      .each { |bytes, words| expect { frame.decode(bytes.b) }.to raise_error(Transfer::ProtocolError, words) }
  end

  # A response whose result is a list of `count` members, each of which has these bytes.
  def list_of(bytes, count) = "\x94\x01\x01\xc0\xdd".b + [count].pack("N") + (bytes.b * count)

  describe "that take much more memory once they are decoded" do
    bombs = { "maps" => "\x80", "lists" => "\x90", "texts" => "\xa2ab", "maps of one" => "\x81\xa1a\xc0",
              "tensors" => "\xc7\x0b\x01\x93\xa5uint8\x91\x00\xc4\x00" }

    bombs.each do |name, bytes|
      it "are refused before decoding: #{name}" do
        bomb = list_of(bytes, 20_000_000 / bytes.bytesize)
        before = GC.stat(:total_allocated_objects)
        expect { frame.decode(bomb) }.to raise_error(Transfer::ProtocolError, /\Amore than 268435456 bytes of memory/)
        expect(GC.stat(:total_allocated_objects) - before).to be < 1000
      end
    end

    it "are refused inside a tensor, too" do
      bomb = list_of("\x80", 20_000).byteslice(4..)
      expect { frame.decode("#{"\xc9".b}#{[bomb.bytesize].pack('N')}\u0001#{bomb}") }
        .to raise_error(Transfer::ProtocolError, "more than 2000 bytes of memory once it is decoded")
    end

    it "fail the call that waits for them; the next one succeeds" do
      worker = worker()
      bomb = list_of("\x80", 20_000_000)
      babble = { "bytes" => [bomb.bytesize].pack("N") + bomb }
      expect { worker.call("babble", babble).value(60) }.to raise_error(Transfer::ProtocolError, /bytes of memory/)
      expect(worker.call("pid", {}).value(20)).to be_a(Integer)
    end
  end

  describe "with many values" do
    let(:value) { Array.new(3) { [Random.new(1).bytes(100_000), *0..100_000, { "a" => Array.new(50_000, "b") }] } }
    let(:decoder) { frame::Decoder.new(frame.encode(value).byteslice(4..)) }

    it "are decoded in chunks, and the next reader continues after a deadline" do
      pieces = 1
      pieces += 1 until (found = decoder.value(0))
      expect([found, pieces]).to match([[value], be > 10])
    end

    it "can be interrupted between chunks, and the next reader continues" do
      reader = Thread.new do
        Thread.handle_interrupt(Object => :never) do
          Thread.current.raise(Interrupt)
          decoder.value
        end
      end
      reader.report_on_exception = false
      expect { reader.value }.to raise_error(Interrupt)
      expect(decoder.value).to eq([value])
    end

    it "are decoded from the beginning after an interrupt inside a chunk" do
      decoder.value(0)
      ends = [-> { raise Interrupt }]
      allow(decoder.content).to(receive(:byteslice).and_wrap_original do |slice, *at|
                                  ends.shift&.call || slice.call(*at)
                                end)
      expect { decoder.value }.to raise_error(Interrupt)
      expect(decoder.value).to eq([value])
    end
  end

  # Bytes of memory, as docs/reference/protocol.md counts them.
  def memory(value)
    case value
    when Array then 72 + value.sum { |inner| memory(inner) }
    when Hash then 200 + value.sum { |pair| pair.sum { |inner| memory(inner) } }
    when Transfer::Tensor then 1024
    when String then 72
    else small?(value) ? 8 : 40
    end
  end

  def small?(value) = !value.is_a?(Numeric) || (value.is_a?(Integer) && value.between?(-32, 127))

  def any_value(random, deep = 0)
    case random.rand(deep < 4 ? 8 : 4)
    when 0 then any_scalar(random)
    when 1 then any_text(random)
    when 2 then Transfer::Tensor.from(any_text(random).b, dtype: "uint8")
    when 3 then [[1, 1000].sample(random:)] * [15, 16, deep.zero? ? 70_000 : 17].sample(random:)
    when 4, 5 then Array.new(random.rand(18)) { any_value(random, deep + 1) }
    else Array.new(random.rand(18)) { |i| [i.to_s, any_value(random, deep + 1)] }.to_h
    end
  end

  def any_scalar(random)
    [nil, true, 0, -1, 127, -32, 128, 300, 70_000, 2**40, -33, -300, -70_000, -2**40, 0.5].sample(random:)
  end

  def any_text(random)
    ["x", "y".b].sample(random:) * [0, 1, 2, 4, 5, 31, 32, 255, 256, 70_000].sample(random:)
  end

  sizes = Transfer.const_get(:Bridge)::Framing::DecodedSize
  ways = { "in Ruby" => sizes.method(:measure), "as configured" => sizes.method(:check) }
  ways.each do |way, check|
    it "take as much memory as the table estimates, #{way}" do
      random = Random.new(1)
      200.times do
        value = any_value(random)
        content = frame.encode(value).byteslice(4..)
        expect(check.call(content, memory(value))).to be <= memory(value)
        expect { check.call(content, memory(value) - 1) }.to raise_error(Transfer::ProtocolError)
      end
    end

    it "must be exactly one value, #{way}" do
      content = frame.encode({ "a" => [1, 2.5, "b" * 40, "c".b * 300, nil], "d" => { "e" => 1000 } }).byteslice(4..)
      expect(check.call(content, 10_000)).to be_a(Integer)
      (1...content.bytesize).each do |cut|
        expect { frame.decode(content.byteslice(0, cut)) }.to raise_error(Transfer::ProtocolError)
      end
      expect { frame.decode([content, "\xc0".b].join) }.to raise_error(Transfer::ProtocolError)
    end
  end

  it "may be nested 100 levels deep, but not 1000" do
    deep = ->(levels) { ("\x91" * levels).b + "\xc0".b }
    expect(frame.decode(deep.call(100)).flatten).to eq([nil])
    expect { frame.decode(deep.call(1000)) }.to raise_error(Transfer::ProtocolError, /StackError/)
  end

  it "that resemble these are valid" do
    value = ["\xDD\xDF".b * 10, 1.1, { "a" => -35, "b" => Array.new(70_000, 1) }, (2**64) - 1, -33, "x" * 70_000]
    expect(frame.decode(frame.encode(value).byteslice(4..))).to eq(value)
  end

  # Messages of the worker, and the error of the call that waits meanwhile.
  {
    "a response without a request" => [[1, 77, nil, 1], "a response to request 77, which is not open"],
    "an event of no call" => [[2, "event", { "call" => 77, "event" => {} }], "an event of call 77, which is not open"],
    "an event of the wrong type" => [[2, "event", { "call" => 1, "event" => 5 }],
                                     "the event of a notification is Integer, expected a map"],
    "an unknown notification" => [[2, "dance", {}], 'unknown notification "dance"'],
    "another list" => [[7], "not a message: [7]"]
  }.each do |what, (message, words)|
    it "close the connection: #{what}" do
      worker = worker()
      expect { worker.call("say", { "message" => message, "times" => 1 }).value(10) }
        .to raise_error(Transfer::ProtocolError, words)
      expect(worker.call("pid", {}).value(10)).to be_a(Integer)
    end
  end

  it "close the connection: a request whose id is open, and too many requests" do
    rows = Enumerator.new { sleep }
    source = Transfer.const_get(:Source).new(rows, columns: nil)
    ask = { "stream" => source.wire["stream"], "max" => 1 }
    params = { "message" => [0, 5, "next_rows", ask], "times" => 2 }
    expect { worker.call("say", params, streams: source.streams).value(10) }
      .to raise_error(Transfer::ProtocolError, "request 5 is already open")
  end
end
