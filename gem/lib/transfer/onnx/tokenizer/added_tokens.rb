# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Tokens that are found in a text before it is divided, such as "[MASK]".
      class AddedTokens
        Token = ::Data.define(:id, :single_word, :lstrip, :rstrip)
        private_constant :Token

        # @param json [Array<Hash>] `added_tokens` of tokenizer.json
        # @param normalize [#call]
        def initialize(json, normalize)
          @normalize = normalize
          normalized, raw = json.partition { |token| token["normalized"] }
          @raw = tokens(raw) { |content| content }
          @normalized = tokens(normalized) { |content| normalize.call(content) }
        end

        # @param text [String]
        # @yieldparam part [Integer, String] the id of a token, or normalized text
        # @yieldparam begins [Boolean] whether it is at the start of the text
        def each_part(text)
          place = 0
          pieces(text, @raw) do |piece|
            next (yield piece, place.zero?).tap { place += 1 } if piece.is_a?(Integer)

            pieces(@normalize.call(piece), @normalized) do |part|
              yield part, place.zero?
              place += 1
            end
          end
        end

        private

        # The first that is listed wins among those that start at one place.
        def tokens(json)
          known = json.to_h do |token|
            [yield(token.fetch("content")),
             Token.new(token.fetch("id"), *token.values_at("single_word", "lstrip", "rstrip"))]
          end
          known.delete("")
          [known, known.empty? ? nil : Regexp.union(known.keys)]
        end

        def pieces(text, (known, pattern))
          place = 0
          matches(text, pattern) do |match|
            token = known.fetch(match[0])
            next if match.begin(0) < place || (token.single_word && !word?(match))

            before = text[place...match.begin(0)]
            before = before.sub(/[[:space:]]+\z/, "") if token.lstrip
            yield before unless before.empty?
            yield token.id
            place = match.end(0)
            place += text[place..][/\A[[:space:]]*/].size if token.rstrip
          end
          yield text[place..] if place < text.size
        end

        def matches(text, pattern)
          text.to_enum(:scan, pattern).each { yield Regexp.last_match } if pattern
        end

        def word?(match)
          [match.pre_match[-1], match.post_match[0]].compact.none? { |neighbour| neighbour.match?(/[[:word:]]/) }
        end
      end
      private_constant :AddedTokens
    end
  end
end
