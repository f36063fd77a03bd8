# frozen_string_literal: true

module Transfer
  module Bridge
    # Whose turn it is to read. One thread reads at a time, for all: a caller who waits reads its own answer, which
    # saves two changes of threads; the connection's keeper reads when answers are due and no caller does.
    class Turn
      # @yieldreturn [Boolean] true if answers are due
      def initialize(&due)
        @due = due
        @mutex = Mutex.new
        @wanted = ConditionVariable.new
        @taken = false
        @called = false
      end

      # Yields with interrupts off, unless it is somebody else's turn: then that thread, or the keeper after it,
      # reads what this one waits for.
      def take
        mine = false
        Thread.handle_interrupt(Object => :never) do
          @mutex.synchronize { mine = @taken = true unless @taken }
          yield if mine
        ensure
          give_back if mine
        end
      end

      # The keeper's sleep: until answers are due that nobody reads, somebody calls it, or the time is up.
      # @param seconds [Numeric, nil]
      def wait(seconds)
        @mutex.synchronize do
          @wanted.wait(@mutex, seconds) unless @called || (!@taken && @due.call)
          @called = false
        end
      end

      # The keeper's sleep before anything can be read: until somebody calls it, or the time is up.
      # @param seconds [Numeric]
      def nap(seconds)
        @mutex.synchronize do
          @wanted.wait(@mutex, seconds) unless @called
          @called = false
        end
      end

      # Wakes the keeper.
      def call_keeper
        @mutex.synchronize do
          @called = true
          @wanted.signal
        end
      end

      private

      # A signal's trap may raise in the main thread wherever it waits, here for the mutex.
      def give_back
        @taken = false
        @mutex.synchronize { @wanted.signal if @due.call }
      end
    end
  end
end
