# frozen_string_literal: true

RSpec.describe "Transfer::Bridge::Reader" do
  # A connection that always has a message.
  let(:connection) { Class.new { def read(_deadline) = :message }.new }

  def reader(&) = bridge::Reader.new(connection, due: -> { false }, &)

  # @return [Integer] how many messages the block has received
  def read_one(reader)
    received = 0
    reader.read { (received += 1) > 1 }
    received - 1
  end

  it "reads from one thread at a time" do
    nested = nil
    reader = reader() { nested ||= read_one(reader) }
    expect(read_one(reader)).to eq(1)
    expect(nested).to eq(-1) # its block was not called
    expect(read_one(reader)).to eq(1)
  end

  it "is unlocked after an interrupt, wherever that comes" do
    reader = reader() { nil }
    mutex = reader.instance_variable_get(:@mutex)
    expect { reader.read { allow(mutex).to receive(:synchronize).and_raise(Interrupt) } }.to raise_error(Interrupt)
    allow(mutex).to receive(:synchronize).and_call_original
    expect(read_one(reader)).to eq(1)
  end

  it "ends at the end of the stream, and keeps the error of an invalid message" do
    reader = reader() { raise Transfer::ProtocolError, "invalid" }
    reader.read { false }
    expect([reader.ended?, reader.error.message]).to eq([true, "invalid"])
    allow(connection).to receive(:read).and_raise(EOFError)
    reader = reader() { nil }
    reader.read { false }
    expect([reader.ended?, reader.error]).to eq([true, nil])
  end
end
