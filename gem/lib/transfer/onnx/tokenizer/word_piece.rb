# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # WordPiece: the longest known beginning of a word, then of its rest.
      class WordPiece
        # @param json [Hash] the model of tokenizer.json
        def initialize(json)
          @ids = json.fetch("vocab")
          @unknown = @ids.fetch(json.fetch("unk_token"))
          @prefix = json["continuing_subword_prefix"] || "##"
          @longest = json["max_input_chars_per_word"] || 100
          @longest_piece = @ids.each_key.map(&:size).max
        end

        # @return [Hash{Integer => String}] the token of each id
        def names = @ids.invert

        # @param word [String]
        # @return [Array<Integer>]
        def ids(word)
          return [@unknown] if word.size > @longest

          ids = []
          start = 0
          while start < word.size
            size, id = longest(word, start)
            return [@unknown] unless id

            ids << id
            start += size
          end
          ids
        end

        private

        def longest(word, start)
          [word.size - start, @longest_piece].min.downto(1) do |size|
            piece = word[start, size]
            id = @ids[start.zero? ? piece : @prefix + piece]
            return [size, id] if id
          end
          nil
        end
      end

      # Whole words.
      class WordLevel
        # @param json [Hash] the model of tokenizer.json
        def initialize(json)
          @ids = json.fetch("vocab")
          @unknown = @ids[json["unk_token"]]
        end

        # @return [Hash{Integer => String}] the token of each id
        def names = @ids.invert

        # @param word [String]
        # @return [Array<Integer>]
        def ids(word) = [@ids[word] || @unknown].compact
      end
    end
  end
end
