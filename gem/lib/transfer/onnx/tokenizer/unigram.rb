# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # A unigram language model: the most probable division into pieces (Viterbi).
      class Unigram
        # Below the lowest score of a piece.
        UNKNOWN_PENALTY = 10.0
        private_constant :UNKNOWN_PENALTY

        # @param json [Hash] the model of tokenizer.json
        def initialize(json)
          @scores = {}
          @ids = {}
          json.fetch("vocab").each_with_index do |(piece, score), id|
            @ids[piece] = id
            @scores[piece] = Float(score)
          end
          @unknown = json["unk_id"]
          @falls_back = json["byte_fallback"]
          @unknown_score = @scores.each_value.min - UNKNOWN_PENALTY
          @longest = @ids.each_key.map(&:size).max
        end

        # @param word [String]
        # @return [Array<Integer>]
        def ids(word)
          pieces(word).flat_map { |piece| @ids[piece] || (@falls_back && bytes(piece)) || [@unknown].compact }
        end

        # @return [Hash{Integer => String}] the piece of each id
        def names = @ids.invert

        # @param word [String]
        # @return [Array<String>] neighbouring unknown characters are one piece
        def pieces(word)
          starts = best_starts(word)
          pieces = []
          place = word.size
          unknown = false
          while place.positive?
            piece = word[starts[place]...place]
            if @ids.key?(piece) && @ids[piece] != @unknown
              pieces << piece
              unknown = false
            else
              unknown ? pieces[-1] = piece + pieces[-1] : pieces << piece
              unknown = true
            end
            place = starts[place]
          end
          pieces.reverse
        end

        private

        def bytes(piece)
          ids = piece.each_byte.map { |byte| @ids[format("<0x%02X>", byte)] }
          ids if ids.all?
        end

        # @return [Array<Integer>] where the last piece of the best division up to each place starts
        def best_starts(word)
          scores = [0.0]
          starts = []
          word.each_char.with_index do |_, start|
            single = false
            (1..[@longest, word.size - start].min).each do |size|
              piece = word[start, size]
              score = @scores[piece] or next
              single ||= size == 1
              offer(scores, starts, start, size, score)
            end
            offer(scores, starts, start, 1, @unknown_score) unless single
          end
          starts
        end

        def offer(scores, starts, start, size, score)
          place = start + size
          total = scores[start] + score
          return unless starts[place].nil? || total > scores[place]

          scores[place] = total
          starts[place] = start
        end
      end
    end
  end
end
