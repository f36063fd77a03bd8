# frozen_string_literal: true

module Transfer
  # Plain data: as the wire carries it, and as Ruby likes to read it.
  module Plain
    # What MessagePack has for integers.
    INTEGERS = (-(2**63)...(2**64))
    private_constant :INTEGERS

    # @param value [String, Symbol, Pathname, Numeric, Boolean, nil]
    # @return [String, Integer, Float, Boolean, nil] the same as the wire carries it
    # @raise [ArgumentError] for anything else
    def self.scalar(value)
      case value
      when nil, true, false, Float then value
      when String, Symbol, Pathname then text(value.to_s)
      when Integer
        INTEGERS.cover?(value) ? value : raise(ArgumentError, "#{value} has more than 64 bits")
      else
        return value.to_f if value.is_a?(Numeric) && value.real?

        raise ArgumentError, "got #{value.class}"
      end
    end

    # Where the locale is C, text from outside says that it is ASCII; a path from the file system may be binary.
    # @return [String] the same text in UTF-8
    # @raise [ArgumentError] if it is none
    def self.text(value)
      unsaid = [Encoding::BINARY, Encoding::US_ASCII].include?(value.encoding)
      text = unsaid ? value.dup.force_encoding(Encoding::UTF_8) : value.encode(Encoding::UTF_8)
      raise ArgumentError, "#{value.inspect} is not valid UTF-8" unless text.valid_encoding?

      text
    rescue EncodingError
      raise ArgumentError, "#{value.inspect} can't be written in UTF-8"
    end

    # @return the same with symbol keys, frozen through and through
    def self.symbolize(value)
      case value
      when Hash then value.to_h { |key, inner| [key.to_s.to_sym, symbolize(inner)] }.freeze
      when Array then value.map { |inner| symbolize(inner) }.freeze
      else value.frozen? ? value : value.dup.freeze
      end
    end
  end
  private_constant :Plain
end
