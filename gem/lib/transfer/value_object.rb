# frozen_string_literal: true

module Transfer
  # Pattern matching and JSON by `to_h`: the same JSON in plain Ruby and in Rails.
  module ValueObject
    # @return [Hash{Symbol => Object}] for `case … in`
    def deconstruct_keys(_keys) = to_h

    # @return [Hash{String => Object}] `to_h` with text as keys, for Rails
    def as_json(*) = to_h.transform_keys(&:to_s)

    # @return [String]
    def to_json(*)
      require "json"
      as_json.to_json(*)
    end
  end
  private_constant :ValueObject
end
