# frozen_string_literal: true

module Transfer
  module Bridge
    # What a call was told, until somebody looks. Who looks rarely sees the latest progress only, as with a worker
    # whose socket is full: what waits stays small.
    class Events
      def initialize
        @mutex = Mutex.new
        @changed = ConditionVariable.new
        @waiting = []
        @closed = false
      end

      # @param event [Hash]
      def <<(event)
        @mutex.synchronize do
          return self if @closed

          @waiting.pop if outdated?(@waiting.last, event)
          @waiting << event
          @changed.signal
        end
        self
      end

      # There will be no more.
      def close
        @mutex.synchronize do
          @closed = true
          @changed.broadcast
        end
      end

      # Yields all events, those still to come as well, until it is closed.
      def each
        while (event = Executor.permit_reload { take })
          yield event
        end
      end

      private

      def take
        @mutex.synchronize do
          @changed.wait(@mutex) while @waiting.empty? && !@closed
          @waiting.shift
        end
      end

      def outdated?(before, now)
        before && [before, now].all? { |event| event["event"] == "progress" } && before["step"] == now["step"]
      end
    end
  end
end
