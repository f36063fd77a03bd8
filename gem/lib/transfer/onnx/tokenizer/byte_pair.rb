# frozen_string_literal: true

require_relative "merging"

module Transfer
  module Onnx
    class Tokenizer
      # Byte pairs: the neighbours with the lowest rank are merged until no pair has a rank.
      class BytePair
        # @param json [Hash] the model of tokenizer.json
        # @raise [Unsupported]
        def initialize(json)
          @ids = json.fetch("vocab")
          @unknown = @ids[json["unk_token"]]
          @ignores_merges, @fuses_unknown, @falls_back = json.values_at("ignore_merges", "fuse_unk", "byte_fallback")
          @prefix = json["continuing_subword_prefix"].to_s
          @suffix = json["end_of_word_suffix"].to_s
          @results = {}
          @ranks = json.fetch("merges").each_with_index.to_h { |pair, rank| [merge(pair), rank] }
        end

        # @param word [String]
        # @return [Array<Integer>]
        def ids(word)
          return [@ids[word]] if @ignores_merges && @ids.key?(word)

          merged(symbols(word)).then { |found| @fuses_unknown ? fused(found) : found }
        end

        # @return [Hash{Integer => String}] the token of each id
        def names = @ids.invert

        private

        # @return [Array(Integer, Integer)] a key of two ids
        def merge(pair)
          first, second = pair.is_a?(String) ? pair.split(" ", 2) : pair
          result = @ids[first + second.delete_prefix(@prefix)]
          ids = [@ids[first], @ids[second], result]
          raise Unsupported, "its merge #{Plain.brief(pair)}" unless ids.all?

          @results[ids.first(2)] = result
          ids.first(2)
        end

        # @return [Array<Integer>] ids of characters
        def symbols(word)
          last = word.size - 1
          word.each_char.with_index.flat_map do |character, i|
            symbol = "#{@prefix if i.positive?}#{character}#{@suffix if i == last}"
            @ids[symbol] || (@falls_back && bytes(character)) || @unknown || []
          end
        end

        def bytes(character)
          ids = character.each_byte.map { |byte| @ids[format("<0x%02X>", byte)] }
          ids if ids.all?
        end

        # @return [Array<Integer>]
        def merged(ids) = Merging.new(ids, @ranks, @results).call

        def fused(ids)
          runs = ids.chunk_while { |one, other| one == @unknown && other == @unknown }
          runs.flat_map { |run| run.first == @unknown ? [@unknown] : run }
        end
      end
      private_constant :BytePair
    end
  end
end
