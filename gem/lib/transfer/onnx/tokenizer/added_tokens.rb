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
            [yield(token.fetch("content")), Token.new(token.fetch("id"), *token.values_at("single_word", "lstrip", "rstrip"))]
          end
          known.delete("")
          [known, known.empty? ? nil : Regexp.union(known.keys)]
        end

        def pieces(text, (known, pattern))
          place = 0
          pattern && text.to_enum(:scan, pattern).each do
            match = Regexp.last_match
            token = known.fetch(match[0])
            from, till = match.begin(0), match.end(0) # rubocop:disable Style/ParallelAssignment
            next if from < place || (token.single_word && !word?(text, from, till))

            from -= [text[place...from][/[[:space:]]*\z/].size, from - place].min if token.lstrip
            yield text[place...from] if from > place
            yield token.id
            till += text[till..][/\A[[:space:]]*/].size if token.rstrip
            place = till
          end
          yield text[place..] if place < text.size
        end

        def word?(text, from, till)
          [from.zero? ? "" : text[from - 1], text[till].to_s].none? { |neighbour| neighbour.match?(/[[:word:]]/) }
        end
      end
    end
  end
end
