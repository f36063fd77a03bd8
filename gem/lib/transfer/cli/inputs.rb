# frozen_string_literal: true

module Transfer
  module CLI
    # Inputs of a model from the command line, or from standard input as its lines arrive.
    module Inputs
      CHUNK_BYTES = 64 * 1024
      # An input as text, its value for the model, or the message of an unusable one.
      Line = ::Data.define(:text, :value, :error)
      private_constant :CHUNK_BYTES

      class << self
        # @param words [Array<String>] of the command line; `-` alone: standard input
        # @param modality [Symbol] of the model
        # @yieldparam lines [Array<Line>] never waits for more lines while some have arrived
        # @raise [Thor::Error] for a word that is not an input of the modality
        def each_group(words, modality)
          if words == ["-"]
            number = 0
            arriving($stdin) do |some|
              lines = some.filter_map { |bytes| line(bytes, number += 1, modality) }
              yield lines if lines.any?
            end
          else
            yield words.map { |text| Line.new(text, value(text, modality), nil) }
          end
        end

        private

        # @return [Line, nil] nil for an empty line
        def line(bytes, number, modality)
          text = Plain.text(bytes)
          Line.new(text, value(text, modality), nil) unless text.empty?
        rescue ArgumentError => error
          unusable(bytes, number, "#{error.message}. Fix: convert the text, or rename the file")
        rescue Thor::Error => error
          unusable(bytes, number, error.message)
        end

        def unusable(bytes, number, reason)
          text = bytes.dup.force_encoding(Encoding::UTF_8).scrub
          Line.new(text, nil, "line #{number} of standard input: #{reason}")
        end

        def value(text, modality)
          case modality
          when :text then pair(text) || text
          when :table then row(text)
          else text
          end
        end

        # A pair of texts is a JSON list; another text that begins with a bracket is itself.
        def pair(text)
          texts = text.start_with?("[") && JSON.parse(text)
          texts if texts.is_a?(Array) && texts.size == 2 && texts.all?(String)
        rescue JSON::ParserError
          nil
        end

        def row(text)
          cells = JSON.parse(text)
          cells.is_a?(Hash) ? cells : raise(JSON::ParserError)
        rescue JSON::ParserError
          raise Thor::Error, %(a row is a JSON object, such as {"rooms": 3}, got #{text})
        end

        # Yields the lines that have arrived, as bytes.
        def arriving(io)
          rest = "".b
          loop do
            *lines, rest = (rest << io.readpartial(CHUNK_BYTES).b).split("\n", -1)
            yield lines.map { |line| line.delete_suffix("\r") }
          end
        rescue EOFError
          yield [rest] unless rest.empty?
        end
      end
    end
    private_constant :Inputs
  end
end
