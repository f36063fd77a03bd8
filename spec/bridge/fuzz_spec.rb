# frozen_string_literal: true

require_relative "../support/fuzz"

RSpec.describe "Hostile bytes" do
  frame = Transfer.const_get(:Bridge)::Frame

  it "are messages or a ProtocolError, and cost no more memory than they have bytes" do
    counts = Fuzz.new(seed: 1).run(3000)
    expect(counts.keys - %i[message protocol_error incomplete]).to eq([])
    expect(counts.values.sum).to eq(3000)
    expect(counts.values.min).to be > 100
  end

  it "that claim more than they are, are refused before room is made for it" do
    { "\xdd\xff\xff\xff\xff" => "a list or map claims 4294967295 members in 0 bytes",
      "\xdf\x0f\xff\xff\xff\xc0" => "a list or map claims 536870910 members in 1 bytes",
      "\x92\xc4\x02\xdd\xdf\xdf\xff\xff\xff\xff" => "a list or map claims 8589934590 members in 0 bytes" }
      .each { |bytes, words| expect { frame.decode(bytes.b) }.to raise_error(Transfer::ProtocolError, words) }
  end

  it "that only look so are read" do
    value = ["\xDD\xDF".b * 10, 1.1, { "a" => -35, "b" => Array.new(70_000, 1) }, (2**64) - 1, -33, "x" * 70_000]
    expect(frame.decode(frame.encode(value).byteslice(4..))).to eq(value)
  end

  # What the worker says, and the error of the call that waits meanwhile.
  {
    "a response that nobody asked for" => [[1, 77, nil, 1], "a response to request 77, which is not open"],
    "an event of no call" => [[2, "event", { "call" => 77, "event" => {} }], "an event of call 77, which is not open"],
    "an event that is none" => [[2, "event", { "call" => 1, "event" => 5 }],
                                "the event of a notification is Integer, expected a map"],
    "an unknown notification" => [[2, "dance", {}], 'unknown notification "dance"'],
    "no message" => [[7], "not a message: [7]"]
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
