# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # Byte-pair encoding: the pair of neighbours with the lowest rank is merged until none has a rank.
      class BytePair
        # @param json [Hash] the model of tokenizer.json
        # @raise [Unsupported]
        def initialize(json)
          @ids = json.fetch("vocab")
          @unknown = @ids[json["unk_token"]]
          @ignores_merges, @fuses_unknown, @falls_back = json.values_at("ignore_merges", "fuse_unk", "byte_fallback")
          @prefix = json["continuing_subword_prefix"].to_s
          @suffix = json["end_of_word_suffix"].to_s
          @ranks = json.fetch("merges").each_with_index.to_h { |pair, rank| [merge(pair), rank] }
        end

        # @param word [String]
        # @return [Array<Integer>]
        def ids(word)
          return [@ids[word]] if @ignores_merges && @ids.key?(word)

          merged(symbols(word)).then { |found| @fuses_unknown ? fused(found) : found }
        end

        # @return [Integer, nil] of a token
        def id(token) = @ids[token]

        private

        # @return [Array(Integer, Integer)] a key of two ids
        def merge(pair)
          first, second = pair.is_a?(String) ? pair.split(" ", 2) : pair
          result = @ids[first + second.delete_prefix(@prefix)]
          ids = [@ids[first], @ids[second], result]
          raise Unsupported, "its merge #{Plain.brief(pair)}" unless ids.all?

          (@results ||= {})[ids.first(2)] = result
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

        # Ranks of pairs are taken from a queue; those that a merge has made out of date are skipped.
        def merged(ids)
          after = (1..ids.size).to_a
          before = (-1...(ids.size - 1)).to_a
          queue = Queue.new
          push = lambda do |left|
            right = left && left >= 0 && after[left] < ids.size ? after[left] : nil
            rank = right && @ranks[[ids[left], ids[right]]]
            queue.push([rank, left, ids[left], ids[right]]) if rank
          end
          ids.each_index(&push)
          while (_, left, *pair = queue.pop)
            right = after[left]
            next unless right < ids.size && [ids[left], ids[right]] == pair

            ids[left] = @results.fetch(pair)
            ids[right] = nil
            after[left] = after[right]
            before[after[left]] = left if after[left] < ids.size
            push.call(before[left])
            push.call(left)
          end
          ids.compact
        end

        def fused(ids)
          ids.chunk_while { |one, other| one == @unknown && other == @unknown }.flat_map { |run| run.first == @unknown ? [@unknown] : run }
        end

        # A binary heap of Arrays.
        class Queue
          def initialize
            @items = []
          end

          def push(item)
            @items << item
            place = @items.size - 1
            while place.positive? && (item <=> @items[parent = (place - 1) / 2]).negative?
              @items[place] = @items[parent]
              place = parent
            end
            @items[place] = item
          end

          def pop
            first = @items.first
            last = @items.pop
            sink(last) unless @items.empty?
            first
          end

          private

          def sink(item)
            place = 0
            while (child = (2 * place) + 1) < @items.size
              child += 1 if child + 1 < @items.size && (@items[child + 1] <=> @items[child]).negative?
              break if (item <=> @items[child]) <= 0

              @items[place] = @items[child]
              place = child
            end
            @items[place] = item
          end
        end
        private_constant :Queue
      end
    end
  end
end
