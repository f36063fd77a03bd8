# frozen_string_literal: true

require_relative "arguments"

module Transfer
  class CLI
    # Inputs of a model from the command line, or from standard input as its lines arrive.
    module Inputs
      # Inputs of a batch: results of a long list appear while others are computed.
      BATCH = 64
      CHUNK_BYTES = 64 * 1024
      # An input as text, its value for the model, or the message of an unusable one.
      Line = ::Data.define(:text, :value, :error)
      private_constant :BATCH, :CHUNK_BYTES

      class << self
        # @param words [Array<String>] of the command line; `-` alone: standard input
        # @param modality [Symbol] of the model
        # @yieldparam batch [Array<Line>] never waits for more lines while some have arrived
        def each_batch(words, modality)
          read = Arguments.for(modality)
          unless words == ["-"]
            return words.each_slice(BATCH) { |some| yield some.map { |text| Line.new(text, read.call(text), nil) } }
          end

          number = 0
          arriving($stdin) do |some|
            batch = some.filter_map { |text| line(text, number += 1, read) }
            yield batch if batch.any?
          end
        end

        private

        # @return [Line, nil] nil of an empty line
        def line(bytes, number, read)
          text = Plain.text(bytes)
          Line.new(text, read.call(text), nil) unless text.empty?
        rescue ArgumentError => error
          unusable(bytes, number, "#{error.message}: convert the text, or rename the file")
        rescue Thor::Error => error
          unusable(bytes, number, error.message)
        end

        def unusable(bytes, number, reason)
          text = bytes.dup.force_encoding(Encoding::UTF_8).scrub
          Line.new(text, nil, "line #{number} of standard input: #{reason}")
        end

        # Yields lines as bytes in groups, as many as have arrived.
        def arriving(io)
          rest = "".b
          loop do
            *lines, rest = (rest << io.readpartial(CHUNK_BYTES).b).split("\n", -1)
            lines.each_slice(BATCH) { |some| yield some.map { |line| line.delete_suffix("\r") } }
          end
        rescue EOFError
          yield [rest] unless rest.empty?
        end
      end
    end
    private_constant :Inputs
  end
end
