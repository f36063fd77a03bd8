# frozen_string_literal: true

require_relative "bridge/frame"
require_relative "bridge/message"
require_relative "bridge/remote_errors"
require_relative "bridge/call"
require_relative "bridge/dispatcher"
require_relative "bridge/tail"
require_relative "bridge/child"
require_relative "bridge/connection"
require_relative "bridge/worker"
require_relative "bridge/subprocess"

module Transfer
  # The way to Python. Nothing is started before the first call; a forked child starts its own.
  module Bridge
    BACKENDS = { subprocess: Subprocess }.freeze
    private_constant :BACKENDS

    @mutex = Mutex.new
    @owner = Process.pid

    class << self
      # @param streams [Hash{String => Source::Pump}]
      # @return [Call] a call in flight
      def start(name, params, streams: {}) = backend.call(name, params, streams:)

      # @return the result of a call. A caller that is interrupted cancels it.
      def call(name, params = {}, streams: {}, timeout: Transfer.config.timeout)
        call = start(name, params, streams:)
        call.value(timeout)
      ensure
        call&.cancel
      end

      # Ends all workers and waits for their end.
      def shutdown = replace(nil)&.stop

      # Takes the place of the configured backend.
      # @return the one before
      def replace(backend)
        leave_to_parent unless @owner == Process.pid
        @mutex.synchronize { @backend.tap { @backend = backend } }
      end

      # In a forked child, where no other thread runs: the workers are the parent's.
      def leave_to_parent
        inherited = @backend
        @mutex = Mutex.new
        @backend = nil
        @owner = Process.pid
        inherited&.abandon
      end

      private

      def backend
        leave_to_parent unless @owner == Process.pid
        @mutex.synchronize { @backend ||= BACKENDS.fetch(Transfer.config.bridge).configured }
      end
    end

    # `Process.daemon` forks without `_fork`.
    module ForkHook
      def _fork = super.tap { |pid| Bridge.leave_to_parent if pid.zero? }

      def daemon(...) = super.tap { Bridge.leave_to_parent }
    end
    private_constant :ForkHook

    Process.singleton_class.prepend(ForkHook)
    at_exit { shutdown }
  end
end
