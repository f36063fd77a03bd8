# frozen_string_literal: true

module Transfer
  # Maps elements in a thread, one element ahead: while the consumer uses a result, or the next element is read, the
  # result after it is computed.
  class ReadAhead
    include Enumerable

    # @param source [#each] read in the consumer's thread
    # @yieldparam element [Object]
    def initialize(source, &map)
      @source = source
      @map = map
    end

    # @yieldparam result [Object] in the order of the elements
    def each
      pending = nil
      @source.each do |element|
        ready = pending
        pending = start(element)
        yield result_of(ready) if ready
      end
      yield result_of(pending) if pending
    ensure
      pending&.kill&.join
    end

    private

    def start(element)
      Thread.new(element, &@map).tap do |thread|
        thread.name = "transfer-read-ahead"
        thread.report_on_exception = false
      end
    end

    def result_of(thread)
      thread.value
    rescue Error => error
      error.set_backtrace([*Backtrace.outside_gem, *error.backtrace])
      raise
    end
  end
  private_constant :ReadAhead
end
