# frozen_string_literal: true

require "json"

# Mutated frames: the test vectors of the protocol, truncated, changed and joined.
class Fuzz
  VECTORS = JSON.parse(File.read(File.expand_path("../../docs/reference/protocol_vectors.json", __dir__)))
                .map { |vector| [vector["hex"]].pack("H*") }.reject { |bytes| bytes.bytesize > 10_000 }.freeze
  NASTY = ["\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdf\x0f\xff\xff\xff", "\xc6\xff\xff\xff\xff",
           "\xc9\xff\xff\xff\xff\x02", "\xc7\xff\x01\xdd\xff\xff\xff\xff", "\xc7\x03\x01\x93\xc0\xc0",
           "\x91" * 200, "\x81\xa1a" * 120, "\xc1", "\xd6\xff\0\0\0\0", "\xcf#{"\xff" * 8}", "\xa1\xff"]
          .map(&:b).freeze
  MUTATIONS = %i[flip cut insert join nasty length].freeze

  def initialize(seed:)
    @random = Random.new(seed)
    @bridge = Transfer.const_get(:Bridge)
  end

  # @return [Hash{Symbol => Integer}] number of each outcome: message, protocol_error, incomplete, or the class of an
  #   unexpected exception
  def run(cases) = Array.new(cases) { outcome(frame) }.tally

  # @return [String]
  def frame
    bytes = VECTORS.sample(random: @random).dup
    @random.rand(1..3).times { bytes = send(MUTATIONS.sample(random: @random), bytes) }
    @random.rand < 0.6 && bytes.bytesize > 4 ? [bytes.bytesize - 4].pack("N") + bytes.byteslice(4..) : bytes
  end

  private

  def outcome(bytes)
    buffer = @bridge::Framing::ReceiveBuffer.new << bytes.dup
    content = buffer.shift or return :incomplete
    @bridge::Message.parse(@bridge::Framing.decode(content))
    :message
  rescue Transfer::ProtocolError
    :protocol_error
  rescue Exception => error # rubocop:disable Lint/RescueException -- that is what is looked for
    error.class
  end

  def flip(bytes) = bytes.tap { bytes.setbyte(place(bytes), @random.rand(256)) unless bytes.empty? }

  def cut(bytes) = bytes.byteslice(0, place(bytes))

  def insert(bytes) = bytes.byteslice(0, i = place(bytes)) + @random.bytes(@random.rand(1..6)) + bytes.byteslice(i..)

  def join(bytes) = bytes + VECTORS.sample(random: @random)

  def nasty(bytes) = bytes.byteslice(0, i = place(bytes)) + NASTY.sample(random: @random) + bytes.byteslice(i..)

  def length(bytes) = [@random.rand(2**32)].pack("N") + (bytes.byteslice(4..) || "")

  def place(bytes) = @random.rand([bytes.bytesize, 1].max)
end
