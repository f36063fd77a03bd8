# frozen_string_literal: true

require "msgpack"

# Invalid results: valid ones with one wrong value, key or length.
module Corruption
  JUNK = [nil, true, -1, 1.5, Float::NAN, 2**63, "text", "\xFF", "\e[31m", "\xFF".b, [], [nil], [[]], {}, { 1 => 2 },
          { "\xFF" => 1 }, { "text" => nil }, Transfer::Tensor.new(dtype: "uint8", shape: [1], bytes: "a")].freeze

  # @return [Array] corrupted values
  def self.of(valid) = JUNK + inner(valid)

  def self.inner(valid)
    case valid
    when Hash
      valid.flat_map do |key, value|
        rest = valid.except(key)
        [rest, { **rest, 5 => value }, *of(value).map { |other| { **valid, key => other } }]
      end
    when Array
      longer = [valid + valid, valid.drop(1)]
      longer + valid.each_index.flat_map { |i| of(valid[i]).map { |other| valid.dup.tap { |list| list[i] = other } } }
    else []
    end
  end
  private_class_method :inner

  # @return [String] its MessagePack
  def self.bytes(value)
    Transfer.const_get(:Bridge)::Framing.encode(value).byteslice(4..)
  end
end
