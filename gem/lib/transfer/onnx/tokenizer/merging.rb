# frozen_string_literal: true

module Transfer
  module Onnx
    class Tokenizer
      # The merges of a word: pairs of neighbours wait in a heap, the lowest rank first, of equal ranks the leftmost.
      class Merging
        # @param ids [Array<Integer>] of symbols; changed
        # @param ranks [Hash{Array(Integer, Integer) => Integer}]
        # @param results [Hash{Array(Integer, Integer) => Integer}] the id of a merged pair
        def initialize(ids, ranks, results)
          @ids = ids
          @ranks = ranks
          @results = results
          @after = (1..ids.size).to_a
          @before = (-1...(ids.size - 1)).to_a
          @heap = []
        end

        # @return [Array<Integer>]
        def call
          (@ids.size - 1).times { |left| offer(left) }
          while (_, left, *pair = pop)
            merge(left, @after[left], pair) if @after[left] < @ids.size && pair == @ids.values_at(left, @after[left])
          end
          @ids.compact
        end

        private

        # Pairs of symbols that were merged meanwhile are still in the heap.
        def merge(left, right, pair)
          @ids[left] = @results.fetch(pair)
          @ids[right] = nil
          @after[left] = @after[right]
          @before[@after[left]] = left if @after[left] < @ids.size
          offer(@before[left])
          offer(left)
        end

        def offer(left)
          return if left.negative? || @after[left] >= @ids.size

          pair = @ids.values_at(left, @after[left])
          rank = @ranks[pair]
          push([rank, left, *pair]) if rank
        end

        def push(item)
          place = @heap.size
          while place.positive? && (item <=> @heap[(place - 1) / 2]).negative?
            @heap[place] = @heap[(place - 1) / 2]
            place = (place - 1) / 2
          end
          @heap[place] = item
        end

        def pop
          first = @heap.first
          last = @heap.pop
          sink(last) unless @heap.empty?
          first
        end

        def sink(item)
          place = 0
          while (child = least_child(place)) && (item <=> @heap[child]).positive?
            @heap[place] = @heap[child]
            place = child
          end
          @heap[place] = item
        end

        def least_child(place)
          children = [(2 * place) + 1, (2 * place) + 2].select { |child| child < @heap.size }
          children.min { |one, other| @heap[one] <=> @heap[other] }
        end
      end
      private_constant :Merging
    end
  end
end
