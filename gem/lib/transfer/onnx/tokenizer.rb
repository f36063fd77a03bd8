# frozen_string_literal: true

require "json"

module Transfer
  module Onnx
    # Texts as ids of tokens, equal to those of Hugging Face's tokenizers: a tokenizer.json with WordPiece, byte-pair
    # encoding, unigrams or whole words.
    class Tokenizer
      # Raised for a damaged or unsupported part of tokenizer.json.
      class Unsupported < StandardError; end

      # Patterns of tokenizer.json.
      module Pattern
        # Seconds of a search.
        TIMEOUT_S = 2.0
        CLASSES = { "\\s" => "[[:space:]]", "\\S" => "[^[:space:]]", "\\d" => "\\p{Nd}",
                    "\\w" => "[[:word:]²³¹¼½¾]" }.freeze
        private_constant :TIMEOUT_S, :CLASSES

        # @param json [Hash] a String or a Regex
        # @return [Regexp]
        # @raise [Unsupported]
        def self.of(json)
          return Regexp.new(Regexp.escape(json["String"])) if json.key?("String")

          pattern = json.fetch("Regex").gsub(/\\\\|\\[sSdw]/) { |found| CLASSES.fetch(found, found) }
          Regexp.new(pattern, timeout: TIMEOUT_S)
        rescue RegexpError
          raise Unsupported, "its pattern #{Plain.brief(json)}", cause: nil
        end
      end
      private_constant :Pattern
    end
  end
end

require_relative "tokenizer/normalizer"
require_relative "tokenizer/splitter"
require_relative "tokenizer/word_piece"
require_relative "tokenizer/byte_pair"
require_relative "tokenizer/unigram"
require_relative "tokenizer/template"
require_relative "tokenizer/added_tokens"
require_relative "tokenizer/decoder"

module Transfer
  module Onnx
    class Tokenizer # rubocop:disable Style/Documentation
      MODELS = { "WordPiece" => WordPiece, "BPE" => BytePair, "Unigram" => Unigram, "WordLevel" => WordLevel }.freeze
      # Texts that show a value of a wrong type.
      PROBE = ["Ab 1, é", "東"].freeze
      private_constant :MODELS, :PROBE

      # @param text [String] tokenizer.json
      # @param max_length [Integer] tokens with special ones
      # @raise [Unsupported]
      def initialize(text, max_length)
        raise Unsupported, "its tokenizer.json, which is damaged" unless text.valid_encoding?

        json = JSON.parse(text, max_nesting: 100)
        @max_length = max_length
        @normalize = Normalizer.build(json["normalizer"])
        @split = Splitter.build(json["pre_tokenizer"])
        @template = Template.build(json["post_processor"])
        @model = model(json.fetch("model"))
        @added = AddedTokens.new(json["added_tokens"] || [], @normalize)
        @json = json.slice("added_tokens", "decoder")
        raise Unsupported, "max_length #{max_length}" if max_length <= @template.added(2)

        pair(*PROBE)
      rescue JSON::ParserError, KeyError, TypeError, NoMethodError, ArgumentError, NoMatchingPatternError
        raise Unsupported, "its tokenizer.json, which is damaged", cause: nil
      end

      # @param text [String]
      # @return [Array(Array<Integer>, Array<Integer>)] ids and types; the end of a long text is left out
      def one(text)
        room = @max_length - @template.added(1)
        @template.apply(ids(text, room).first(room))
      end

      # @param first [String]
      # @param second [String]
      # @return [Array(Array<Integer>, Array<Integer>)] ids and types; the longer text is shortened first
      def pair(first, second)
        room = @max_length - @template.added(2)
        texts = [first, second].map { |text| ids(text) }
        @template.apply(*texts.zip(lengths(*texts.map(&:size), room)).map { |all, size| all.first(size) })
      end

      # @param first [String]
      # @param second [String]
      # @return [Boolean] whether {pair} leaves out a part
      def shortened?(first, second)
        [first, second].sum { |text| ids(text).size } > @max_length - @template.added(2)
      end

      # @param text [String]
      # @return [Array<Array(Array<Integer>, Array<Integer>)>] ids and types of windows that cover the text
      def windows(text)
        room = @max_length - @template.added(1)
        windows = ids(text).each_slice(room).to_a
        (windows.empty? ? [[]] : windows).map { |some| @template.apply(some) }
      end

      # @param text [String]
      # @return [Array<Integer>] ids without special tokens around them
      def bare_ids(text) = ids(text)

      # @param text [String]
      # @return [Array<String>] tokens without special ones around them; an unknown piece of a text as it is
      def pieces(text)
        pieces = []
        @added.each_part(text) do |part, begins|
          next pieces << names[part] if part.is_a?(Integer)

          @split.call(part, begins).each do |word|
            pieces.concat(@model.respond_to?(:pieces) ? @model.pieces(word) : @model.ids(word).map(&names))
          end
        end
        pieces
      end

      # @param ids [Array<Integer>]
      # @return [String] their text, without special tokens
      # @raise [Unsupported]
      def text(ids)
        @decoder ||= Decoder.build(@json["decoder"])
        special = (@special ||= Array(@json["added_tokens"]).select { |token| token["special"] }.to_h do |token|
          [token["id"], true]
        end)
        @decoder.call(ids.reject { |id| special.key?(id) }.filter_map(&names)).join
      end

      # @param piece [String]
      # @return [Integer, nil]
      def id_of(piece) = (@numbers ||= names.invert)[piece]

      private

      # @return [Hash{Integer => String}]
      def names
        @names ||= @model.names.merge(Array(@json["added_tokens"]).to_h { |token| token.values_at("id", "content") })
      end

      def model(json)
        kind = json["type"] || (json.key?("merges") ? "BPE" : "WordPiece")
        (MODELS[kind] || raise(Unsupported, "its model #{kind}")).new(json)
      end

      # @param enough [Integer, nil] tokens after which the rest of the text is not read
      def ids(text, enough = nil)
        ids = []
        @added.each_part(text) do |part, begins|
          next ids << part if part.is_a?(Integer)

          @split.call(part, begins).each do |word|
            ids.concat(@model.ids(word))
            return ids if enough && ids.size >= enough
          end
          return ids if enough && ids.size >= enough
        end
        ids
      end

      # As in tokenizers' strategy `longest_first`.
      def lengths(first, second, room)
        return [first, second] if first + second <= room

        shorter, = [first, second].sort
        longer = shorter > room ? shorter : [shorter, room - shorter].max
        shorter, longer = room / 2, (room / 2) + (room % 2) if shorter + longer > room # rubocop:disable Style/ParallelAssignment
        first > second ? [longer, shorter] : [shorter, longer]
      end
    end
  end
end
