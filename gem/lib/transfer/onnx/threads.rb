# frozen_string_literal: true

require "etc"

module Transfer
  module Onnx
    # Work on all cores: decoding and the graph release the interpreter's lock.
    module Threads
      class << self
        # @return [Integer] cores that may be used
        def most = Transfer.config.threads || Etc.nprocessors

        # @param items [Array]
        # @yieldparam item [Object]
        # @yieldparam index [Integer]
        # @return [Array] results of the block, in order; its first exception is raised
        def map(items, &)
          return items.each_with_index.map(&) if items.size < 2 || most < 2

          results = Array.new(items.size)
          numbers = items.each_index.to_a.reverse
          threads = Array.new([most, items.size].min) { start(items, numbers, results, &) }
          threads.each(&:join)
          results
        ensure
          threads&.each(&:kill)
        end

        private

        # A thread that takes numbers until none is left. Array#pop is atomic.
        def start(items, numbers, results)
          thread = Thread.new do
            while (number = numbers.pop)
              results[number] = yield(items[number], number)
            end
          end
          thread.report_on_exception = false
          thread.name = "transfer-onnx"
          thread
        end
      end
    end
    private_constant :Threads
  end
end
