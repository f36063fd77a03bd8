# frozen_string_literal: true

require "msgpack"

# Results that are nearly right: a true one in which one value, key or length is another.
module Lies
  JUNK = [nil, true, -1, 1.5, Float::NAN, 2**63, "text", "\xFF", "\e[31m", "\xFF".b, [], [nil], [[]], {}, { 1 => 2 },
          { "\xFF" => 1 }, { "text" => nil }, Transfer::Tensor.new(dtype: "uint8", shape: [1], bytes: "a")].freeze

  # @return [Array] of such values
  def self.of(truth) = JUNK + inner(truth)

  def self.inner(truth)
    case truth
    when Hash
      truth.flat_map do |key, value|
        rest = truth.except(key)
        [rest, { **rest, 5 => value }, *of(value).map { |lie| { **truth, key => lie } }]
      end
    when Array
      longer = [truth + truth, truth.drop(1)]
      longer + truth.each_index.flat_map { |i| of(truth[i]).map { |lie| truth.dup.tap { |list| list[i] = lie } } }
    else []
    end
  end
  private_class_method :inner

  # @return [String] as the wire carries it
  def self.bytes(value)
    Transfer.const_get(:Bridge)::Framing.encode(value).byteslice(4..)
  end
end
