# frozen_string_literal: true

module Transfer
  # Plain data: conversion between Ruby and the wire, and excerpts for messages.
  module Plain
    # The integers of MessagePack.
    INTEGERS = (-(2**63)...(2**64))
    # Characters of a text that messages quote.
    QUOTED = 400
    # Sequences that move a terminal's cursor, colour it or name its window; and control characters but tab and newline.
    ESCAPES = %r{\e\[[0-?]*[ -/]*[@-~]|\e\][^\a\e\n]*(?:\a|\e\\)|\e[ -/]*[0-~]?|[\u0000-\b\v-\u001f\u007f-\u009f]}
    # Members of a list or map, and levels of both, that messages quote.
    MOST_MEMBERS = 8
    # Maps whose keys are labels of users.
    BY_LABEL = %w[class_weights].freeze
    private_constant :INTEGERS, :QUOTED, :ESCAPES, :MOST_MEMBERS, :BY_LABEL

    # @param value [String, Symbol, Pathname, Numeric, Boolean, nil]
    # @return [String, Integer, Float, Boolean, nil] the same as the wire carries it
    # @raise [ArgumentError] for anything else
    def self.scalar(value)
      case value
      when nil, true, false, Float then value
      when String, Symbol, Pathname then text(value.to_s)
      when Integer
        return value if INTEGERS.cover?(value)

        # Digits take time with the square of their number.
        raise ArgumentError, "#{value.bit_length > 1000 ? 'an Integer' : value} has more than 64 bits"
      else
        return value.to_f if value.is_a?(Numeric) && value.real?

        raise ArgumentError, "got #{value.class}"
      end
    end

    # In the locale C, text from outside is labelled ASCII; a path from the file system may be binary.
    # @return [String] the same text in UTF-8
    # @raise [ArgumentError] if it is not valid
    def self.text(value)
      unlabelled = [Encoding::BINARY, Encoding::US_ASCII].include?(value.encoding)
      text = unlabelled ? value.dup.force_encoding(Encoding::UTF_8) : value.encode(Encoding::UTF_8)
      raise ArgumentError, "#{excerpt(value).inspect} is not valid UTF-8" unless text.valid_encoding?

      text
    rescue EncodingError
      raise ArgumentError, "#{excerpt(value).inspect} can't be written in UTF-8"
    end

    # @return [String] the text as messages quote it: without its middle if it has more than 400 characters
    def self.excerpt(text)
      return text if text.size <= QUOTED

      half = QUOTED / 2
      "#{text[0, half]}… (#{text.size - QUOTED} more characters) …#{text[-half, half]}"
    end

    # @param text [String] from a worker: its standard error, the message of an error
    # @return [String] the same as valid UTF-8 without control sequences of terminals
    def self.printable(text) = text.dup.force_encoding(Encoding::UTF_8).scrub.gsub(ESCAPES, "")

    # @return [String] a value as Ruby writes it, shortened for a message; the rest of a big value is not converted
    def self.brief(value, longest = 80)
      text = shortened(value).inspect.scrub
      text.size <= longest ? text : "#{text[0, longest - 1]}…"
    end

    def self.shortened(value, levels = MOST_MEMBERS)
      case value
      when String then value.encoding == Encoding::BINARY ? "#{value.bytesize} bytes" : value[0, QUOTED]
      when Array, Hash then levels.zero? ? value.class : shortened_members(value, levels - 1)
      else value
      end
    end

    def self.shortened_members(value, levels)
      members = value.first(MOST_MEMBERS)
      return members.map { |inner| shortened(inner, levels) } if value.is_a?(Array)

      members.to_h { |key, inner| [shortened(key, levels), shortened(inner, levels)] }
    end
    private_class_method :shortened, :shortened_members

    # @return a deep frozen copy
    def self.frozen_copy(value)
      case value
      when Hash then value.transform_values { |inner| frozen_copy(inner) }.freeze
      when Array then value.map { |inner| frozen_copy(inner) }.freeze
      else value.frozen? ? value : value.dup.freeze
      end
    end

    # @return a deep frozen copy with symbols as keys. Labels of users stay text
    def self.symbolize(value)
      case value
      when Hash
        value.to_h do |key, inner|
          [key.to_s.to_sym, BY_LABEL.include?(key.to_s) ? frozen_copy(inner) : symbolize(inner)]
        end.freeze
      when Array then value.map { |inner| symbolize(inner) }.freeze
      else frozen_copy(value)
      end
    end
  end
  private_constant :Plain
end
