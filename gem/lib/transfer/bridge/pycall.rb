# frozen_string_literal: true

require_relative "pycall/preconditions"
require_relative "pycall/interpreter"
require_relative "worker_process/embedded"

module Transfer
  module Bridge
    # `bridge = :pycall`: the workers are threads of a Python in this process. They use the same protocol as worker
    # processes, so that the same calls have the same results.
    module PyCall
      class << self
        # @return [Pool] of embedded workers
        # @raise [ConfigurationError, DependencyError] if Python can't or must not be loaded
        def pool
          Preconditions.check
          Interpreter.load(Python.command.first)
          Pool.new { launch_options }
        end

        private

        def launch_options(config = Transfer.config)
          python = Interpreter.load(Python.command.first)
          settings = { TRANSFER_HOME: config.home, TRANSFER_OFFLINE: ("1" if config.offline),
                       **config.for_worker.transform_keys(&:to_sym) }
          LaunchOptions.configured(config).with(
            limits: LaunchOptions::Limits.new,
            process: ->(launch, memory) { WorkerProcess::Embedded.new(launch, memory, python, settings) }
          )
        end
      end
    end
  end
end
