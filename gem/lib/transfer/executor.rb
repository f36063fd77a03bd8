# frozen_string_literal: true

module Transfer
  # Runs the application's code as Rails does: within its executor, which releases database connections and delays a
  # reload of the code until the block has ended. Without Rails, and without {Configuration#executor}, it just runs.
  module Executor
    class << self
      # @return what the block returns
      def wrap(&)
        executor = Transfer.config.executor
        executor ? executor.wrap(&) : yield
      end

      # Waits, in the block, for another thread. This thread lets Rails reload code meanwhile: the thread that waits to
      # reload delays new executions, and so the one that this thread waits for.
      #
      # `Interlock#permit_concurrent_loads` is not enough: it permits loading, and a reload unloads.
      # @return what the block returns
      def permit_reload
        return yield unless (interlock = held_interlock)

        interlock.done_running
        begin
          yield
        ensure
          interlock.start_running
        end
      end

      private

      # @return [ActiveSupport::Dependencies::Interlock, nil] nil unless this thread delays a reload
      def held_interlock
        return unless defined?(ActiveSupport::Dependencies) && ActiveSupport::Dependencies.respond_to?(:interlock)

        interlock = ActiveSupport::Dependencies.interlock
        interlock if interlock.raw_state { |threads| threads.dig(Thread.current, :sharing) } == 1
      end
    end
  end
  private_constant :Executor
end
