# frozen_string_literal: true

require "json"

module Transfer
  class CLI
    # What is typed, as inputs of a model.
    module Arguments
      class << self
        # @param modality [Symbol] what the model takes
        # @return [Proc] from an argument to an input
        def for(modality)
          { image: :itself.to_proc, text: method(:text), table: method(:row) }.fetch(modality)
        end

        private

        # Two texts are written as a JSON list; a text that begins with a bracket otherwise is one.
        def text(argument)
          pair = argument.start_with?("[") && JSON.parse(argument)
          pair.is_a?(Array) && pair.size == 2 && pair.all?(String) ? pair : argument
        rescue JSON::ParserError
          argument
        end

        def row(argument)
          cells = JSON.parse(argument)
          raise Thor::Error, %(a row is a JSON object, such as {"rooms": 3}, got #{argument}) unless cells.is_a?(Hash)

          cells
        rescue JSON::ParserError
          raise Thor::Error, %(a row is a JSON object, such as {"rooms": 3}, got #{argument})
        end
      end
    end
    private_constant :Arguments
  end
end
