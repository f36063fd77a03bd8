# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # An input that can't be read: the result of {Model#predict} in place of its {Prediction} with `on_bad_input: :mark`.
  class BadInput
    include ValueObject

    # @return [Object] the input as it was given
    attr_reader :input
    # @return [DataError, ArgumentError] the reason, with the name of the input
    attr_reader :error

    # @param input [Object]
    # @param error [DataError, ArgumentError]
    def initialize(input, error)
      @input = input
      @error = error
      freeze
    end

    # @return [String] the message of the error
    def message = error.message

    # @return [String, nil] the file that can't be read
    def path = (error.path if error.is_a?(DataError))

    # @return [Boolean] false; true of a {Prediction}
    def ok? = false

    # @return [Boolean] true; false of a {Prediction}
    def failed? = true

    # @return [Hash{Symbol => String}]
    def to_h = { error: message, path: }.compact

    def to_s = message
    def inspect = "#<#{self.class} #{message}>"
  end
end
