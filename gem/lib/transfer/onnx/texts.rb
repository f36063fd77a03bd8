# frozen_string_literal: true

require_relative "session"
require_relative "terms"

module Transfer
  module Onnx
    # Texts, and pairs of texts, as the input of a graph.
    class Texts
      # The default of `max_text_length`.
      MOST_CHARACTERS = 1_000_000
      LONGEST = 1_000_000
      private_constant :MOST_CHARACTERS, :LONGEST

      # @param file [ExportedFile]
      # @raise [Description::Invalid]
      def initialize(file)
        text = file.description.text
        @paired = text["paired"]
        @inputs = file.inputs
        @reader = text["kind"] == "terms" ? Terms.new(text) : tokenizer(file, text)
        @windows = text["long"] == "window"
      end

      # @param input [String, Array<String>] a text or two
      # @param name [String] in messages
      # @return [Hash{String => Value}]
      # @raise [DataError]
      def read(input, name)
        check(input, name)
        return terms(Array(input)) if @reader.is_a?(Terms)

        windows = windows(input)
        unless windows
          raise DataError,
                "#{name}: a pair of texts is longer than the model's maximum, and has no windows"
        end

        tokens(windows)
      rescue Regexp::TimeoutError
        raise DataError, "#{name}: dividing the text into tokens took too long", cause: nil
      end

      private

      def check(input, name)
        problem = problem(Array(input), input.is_a?(Array))
        raise DataError, "#{name}: #{problem}" if problem
      end

      def tokenizer(file, text)
        longest = Description.check(text["max_length"], "text.max_length", Integer) { |size| size.between?(1, LONGEST) }
        json = Description.check(file.files["tokenizer.json"], "tokenizer.json", String)
        Tokenizer.new(json, longest)
      rescue Tokenizer::Unsupported => error
        raise Description::Invalid, "its tokenizer can't be used without Python: #{error.message}"
      end

      # @return [String, nil]
      def problem(texts, is_pair)
        if [true, false].include?(@paired) && @paired != is_pair
          return "expected #{@paired ? 'a list of two texts' : 'one text'}, as in training"
        end
        unless texts.all? { |text| text.match?(/[^[:space:]]/) }
          return is_pair ? "one of the two texts is empty" : "the text is empty"
        end

        allowed = Transfer.config.max_text_length || MOST_CHARACTERS
        longest = texts.map(&:size).max
        return if longest <= allowed

        "its #{longest} characters are more than max_text_length = #{allowed}. Fix: raise " \
          "Transfer.config.max_text_length (TRANSFER_MAX_TEXT_LENGTH), or use a smaller input"
      end

      # @return [Array<Array>, nil] ids and types of each window; nil for a pair that would need several
      def windows(input)
        return @windows ? @reader.windows(input) : [@reader.one(input)] unless input.is_a?(Array)

        pair = @reader.pair(*input)
        [pair] unless @windows && @reader.shortened?(*input)
      end

      def tokens(windows)
        longest = [windows.map { |ids, _| ids.size }.max, 1].max
        shape = [windows.size, longest]
        ids, types = [0, 1].map { |i| int64(shape, windows.map { |window| padded(window[i], longest) }) }
        mask = int64(shape, windows.map { |window, _| padded([1] * window.size, longest) })
        found = { "input_ids" => ids, "attention_mask" => mask, "token_type_ids" => types,
                  "text_of_window" => int64([windows.size], [0] * windows.size) }
        found.slice(*@inputs)
      end

      def padded(numbers, size) = numbers + ([0] * (size - numbers.size))

      def int64(shape, numbers) = Value.new(:int64, shape, numbers.flatten.pack("q<*"))

      def terms(texts)
        names = %w[tokens tokens_2]
        texts.zip(names).to_h do |text, name|
          tokens = @reader.call(text)
          tokens = [""] if tokens.empty?
          [name, Value.new(:string, [1, tokens.size], tokens)]
        end
      end
    end
  end
end
