# frozen_string_literal: true

module Transfer
  module Input
    # A text, or a pair of texts: a question and an answer, two sentences.
    module Text
      INPUTS = "an input is a text, or an Array of two"
      private_constant :INPUTS

      class << self
        # @param value [String, Symbol, IO, Array] a text, an IO, or a pair of them
        # @return [String, Array<String>] UTF-8
        # @raise [ArgumentError] for anything else
        # @raise [DataError] for text that is invalid in its encoding, or too long
        def wire(value)
          return text(value) unless value.is_a?(Array)
          raise ArgumentError, "#{INPUTS}, got an Array of #{value.size}" unless value.size == 2

          value.map { |part| text(part) }
        end

        private

        def text(value)
          value = Input.read(value, "a text") if value.respond_to?(:read) && !value.is_a?(Pathname)
          raise ArgumentError, "#{INPUTS}, got #{value.class}" unless value.is_a?(String) || value.is_a?(Symbol)

          Input.sendable(utf8(value.to_s), "a text")
        end

        def utf8(text)
          Plain.text(text)
        rescue ArgumentError => error
          raise DataError, error.message, cause: nil
        end
      end
    end
    private_constant :Text
  end
end
