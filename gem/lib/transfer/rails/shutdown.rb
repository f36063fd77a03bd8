# frozen_string_literal: true

module Transfer
  module Rails
    # Whether this process is about to end, so that trainings save their checkpoint and leave.
    module Shutdown
      class << self
        # Asks the adapters that announce their end to do so.
        def subscribe
          Sidekiq.configure_server { |config| config.on(:quiet) { begin! } } if defined?(Sidekiq::CLI)
          SolidQueue.on_worker_stop { begin! } if defined?(SolidQueue) && SolidQueue.respond_to?(:on_worker_stop)
        end

        # For adapters that are not known here, and for tests.
        def begin! = @begun = true

        # @api private
        def reset = @begun = false

        # @return [Boolean]
        def begun?
          @begun || Rails.settings.stopping&.call || adapter_stopping? ||
            (defined?(GoodJob) && GoodJob.respond_to?(:_shutdown?) && GoodJob._shutdown?) || false
        end

        private

        # Rails 8.1
        def adapter_stopping?
          adapter = TrainJob.queue_adapter
          adapter.respond_to?(:stopping?) && adapter.stopping?
        end
      end
    end
  end
end
