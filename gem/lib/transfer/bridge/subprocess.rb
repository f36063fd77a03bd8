# frozen_string_literal: true

module Transfer
  module Bridge
    # The default backend: Python in processes of its own, one to train and one to serve, so that a training
    # never delays a prediction. As long as nobody trains, the one that is there does both.
    class Subprocess
      LONG = "train"
      private_constant :LONG

      # @return [Subprocess] started by `Transfer.config`, as it is when a worker starts
      def self.configured
        new do
          config = Transfer.config
          Connection::Launch.new(
            command: [*Python.command, "-m", "transfer_core.worker"], env: environment(config),
            startup_timeout: config.startup_timeout, idle_stop: config.idle_stop, logger: config.logger
          )
        end
      end

      # The core that came with this gem goes before an installed one. What is nil the worker does not inherit.
      def self.environment(config)
        core = File.join(Python::ROOT, "python")
        path = [core, ENV.fetch("PYTHONPATH", nil)].compact.reject(&:empty?).join(File::PATH_SEPARATOR)
        { "PYTHONPATH" => path, "TRANSFER_HOME" => config.home, "TRANSFER_OFFLINE" => ("1" if config.offline) }
      end
      private_class_method :environment

      attr_reader :train, :serve

      # @yieldreturn [Connection::Launch]
      def initialize(&)
        @train = Worker.new(&)
        @serve = Worker.new(&)
      end

      # @return [Call]
      def call(name, params, streams: {})
        return train.call(name, params, streams:) if name == LONG

        beside_nothing_long(name, params, streams) || serve.call(name, params, streams:)
      end

      def stop = [train, serve].each(&:stop)

      def abandon = [train, serve].each(&:abandon)

      private

      def beside_nothing_long(name, params, streams)
        train.call_if_free(name, params, streams:, unless_running: LONG) unless serve.ready?
      end
    end
  end
end
