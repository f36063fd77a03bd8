# frozen_string_literal: true

module Transfer
  # Plain data from the wire, as Ruby likes to read it.
  module Plain
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
