# frozen_string_literal: true

module Transfer
  module Bridge
    # The default backend: Python in processes of its own, one to train and one to serve, so that a training
    # never delays a prediction. As long as nobody trains, the one that is there does both.
    class Subprocess
      LONG = %w[train resume].freeze
      # What would keep all the others waiting.
      NOT_SHARED = [*LONG, "evaluate", "check"].freeze
      private_constant :LONG, :NOT_SHARED

      class << self
        # @return [Subprocess] started by `Transfer.config`, as it is when a worker starts
        def configured
          Transfer.config.shared_worker ? new(shared: -> { Shared.launch }) { launch } : new { launch }
        end

        # @return [Launch] of the real worker
        def launch(config = Transfer.config)
          Launch.new(
            command: [*Python.command, "-m", "transfer_core.worker"], env: environment(config),
            startup_timeout: config.startup_timeout, limits: limits(config), logger: config.logger,
            trace: (Trace.new(config.logger) if config.debug)
          )
        end

        private

        # The core that came with this gem goes before an installed one.
        def environment(config)
          path = [File.join(Python::ROOT, "python"), ENV.fetch("PYTHONPATH", "")].reject(&:empty?)
          own = { "PYTHONPATH" => path.join(File::PATH_SEPARATOR), "TRANSFER_HOME" => config.home,
                  "TRANSFER_OFFLINE" => ("1" if config.offline), **config.for_worker }
          Environment.allowed(config.environment).merge(own).compact
        end

        def limits(config)
          Limits.new(idle_stop: config.idle_stop, max_lifetime: config.max_lifetime,
                     max_requests: config.max_requests, max_memory: config.max_memory)
        end
      end

      attr_reader :train, :serve

      # @param shared [Proc, nil] returns the {Launch} of a worker that other processes use as well
      # @yieldreturn [Launch]
      def initialize(shared: nil, &)
        @train = Worker.new(&)
        @serve = shared ? Worker.new(&shared) : Worker.new(&)
        @own = shared ? NOT_SHARED : LONG
        @shared = shared
      end

      # @param words (see Connection#open)
      # @return [Call]
      def call(name, params, **words)
        return train.call(name, params, **words) if @own.include?(name)

        beside_nothing_long(name, params, **words) || serve.call(name, params, **words)
      end

      def stop = [train, serve].each(&:stop)

      def abandon = [train, serve].each(&:abandon)

      # @return [Hash{Symbol => Hash}] by role
      def stats = { train: train.stats, serve: serve.stats }

      private

      def beside_nothing_long(name, params, **words)
        train.call_if_free(name, params, unless_running: LONG, **words) unless @shared || serve.ready?
      end
    end
  end
end
