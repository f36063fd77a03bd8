# frozen_string_literal: true

module Transfer
  # Runs the application's code within the executor of Rails, which releases database connections and delays a reload of
  # the code until the block has ended; without Rails, and without {Configuration#executor}, directly.
  module Executor
    class << self
      # @return what the block returns
      def wrap(&)
        executor = Transfer.config.executor
        executor ? executor.wrap(&) : yield
      end

      # Permits Rails to reload code while the block waits for another thread. Otherwise they could block each other: a
      # pending reload delays new executions, among them that of the other thread.
      #
      # `Interlock#permit_concurrent_loads` does not suffice: it permits loading, and a reload unloads.
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
