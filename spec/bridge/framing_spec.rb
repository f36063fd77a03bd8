# frozen_string_literal: true

require "json"

RSpec.describe "Transfer::Bridge::Framing and Message" do
  vectors = JSON.parse(File.read(File.expand_path("../../docs/reference/protocol_vectors.json", __dir__)))
  frame = Transfer.const_get(:Bridge)::Framing
  message = Transfer.const_get(:Bridge)::Message

  # Decodes the notation of docs/reference/protocol.md for values that JSON does not have.
  def self.decoded(value)
    case value
    when Hash
      notation = value.keys.first if value.size == 1
      return special(notation, value[notation]) if notation&.start_with?("$")

      value.transform_values { |inner| decoded(inner) }
    when Array then value.map { |inner| decoded(inner) }
    else value
    end
  end

  def self.special(notation, value)
    case notation
    when "$bin" then [value].pack("H*")
    when "$float" then { "nan" => Float::NAN, "inf" => Float::INFINITY, "-inf" => -Float::INFINITY }.fetch(value)
    when "$tensor"
      Transfer::Tensor.new(dtype: value["dtype"], shape: value["shape"], bytes: [value["bytes"]].pack("H*"))
    when "$tensor_block"
      Transfer.const_get(:TensorBlock).new(**value.transform_keys(&:to_sym))
    end
  end

  # The value in a list, nil at the end of the stream.
  def read(bytes)
    bridge = Transfer.const_get(:Bridge)
    buffer = bridge::Framing::ReceiveBuffer.new << bytes.dup
    content = buffer.shift
    content ? [bridge::Framing.decode(content)] : buffer.finish
  end

  it "has vectors of every kind" do
    expect(vectors.count { |vector| vector.key?("value") }).to be > 25
    expect(vectors.count { |vector| vector["receiver"] == "both" }).to be > 25
  end

  vectors.each do |vector|
    bytes = [vector["hex"]].pack("H*")

    if vector.key?("value")
      it "reads #{vector['name']}" do
        wire = read(bytes).first
        # NaN is not equal to itself, its notation is.
        expect(wire.inspect).to eq(self.class.decoded(vector["value"]).inspect)
        expect(message.parse(wire).to_wire).to eq(wire) unless wire.inspect.include?("NaN")
      end

      if vector["canonical"]
        it "writes #{vector['name']}" do
          expect(frame.encode(self.class.decoded(vector["value"])).unpack1("H*")).to eq(vector["hex"])
        end
      end
    elsif vector["receiver"] == "both"
      it "refuses #{vector['name']}" do
        expect { message.parse(read(bytes).first) }.to raise_error(Transfer::ProtocolError)
      end
    end
  end

  it "describes the error of a frame" do
    {
      "\0\0\0\0" => "empty frame",
      "\x04\0\0\1" => "frame of 67108865 bytes, at most 67108864 are allowed",
      "\0\0" => "the stream ended inside the length of a frame",
      "\0\0\0\x09abc" => "the stream ended after 3 of the 9 bytes of a frame"
    }.each do |bytes, words|
      expect { read(bytes.b) }.to raise_error(Transfer::ProtocolError, words)
    end
  end

  it "is nil at the end of the stream" do
    expect(read("")).to be_nil
  end

  it "refuses to write a frame that is too big" do
    expect { frame.encode("x" * (64 * 1024 * 1024)) }
      .to raise_error(Transfer::ProtocolError, "frame of 67108869 bytes, at most 67108864 are allowed")
  end
end
