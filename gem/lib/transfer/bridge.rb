# frozen_string_literal: true

require_relative "bridge/sizes"
require_relative "bridge/frame"
require_relative "bridge/message"
require_relative "bridge/shape"
require_relative "bridge/shapes"
require_relative "bridge/remote_errors"
require_relative "bridge/events"
require_relative "bridge/call"
require_relative "bridge/look"
require_relative "bridge/doubt"
require_relative "bridge/questions"
require_relative "bridge/dispatcher"
require_relative "bridge/memory"
require_relative "bridge/limits"
require_relative "bridge/crash_loop"
require_relative "bridge/death"
require_relative "bridge/tail"
require_relative "bridge/child"
require_relative "bridge/arena"
require_relative "bridge/shared_memory"
require_relative "bridge/inbox"
require_relative "bridge/wire"
require_relative "bridge/launch"
require_relative "bridge/turn"
require_relative "bridge/fault"
require_relative "bridge/trace"
require_relative "bridge/messages"
require_relative "bridge/greeting"
require_relative "bridge/connection"
require_relative "bridge/worker"
require_relative "bridge/environment"
require_relative "bridge/rendezvous"
require_relative "bridge/shared"
require_relative "bridge/subprocess"

module Transfer
  # The way to Python. Nothing is started before the first call; a forked child starts its own.
  module Bridge
    autoload :PyCall, "#{__dir__}/bridge/pycall"

    BACKENDS = { subprocess: :Subprocess, pycall: :PyCall }.freeze
    # Seconds that a signal's trap waits for workers; the thread that it interrupted may hold what that needs.
    TRAP_PATIENCE_S = 5
    private_constant :BACKENDS, :TRAP_PATIENCE_S

    @mutex = Mutex.new
    @owner = Process.pid

    class << self
      # @param streams [Hash{String => Source::Pump}]
      # @return [Call] a call in flight
      def start(name, params, streams: {}) = backend.call(name, params, streams:)

      # @return the result of a call. A caller that is interrupted cancels it.
      def call(name, params = {}, streams: {}, timeout: Transfer.config.timeout)
        Telemetry.call(name, inputs: params["inputs"]&.size, model: params["model"]) do
          call = backend.call(name, params, streams:, awaited: true)
          call.value(timeout)
        ensure
          call&.cancel
        end
      end

      # Ends all workers and waits for their end.
      # @param shared [Boolean] true: also the one that other processes may be using
      def shutdown(shared: false)
        replace(nil)&.stop
        Shared.stop if shared
      rescue ThreadError # no mutex can be locked in a signal's trap
        Thread.new { shutdown(shared:) }.join(TRAP_PATIENCE_S)
      end

      # @return [Hash{Symbol => Hash}] see `Transfer.stats`
      def stats = { workers: @mutex.synchronize { @backend }&.stats || {}, calls: Telemetry.stats }

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
        forget(inherited)
      rescue ThreadError # as in shutdown
        Thread.new { forget(inherited) }.join
      end

      private

      def forget(inherited)
        Telemetry.forget
        inherited&.abandon
      end

      def backend
        leave_to_parent unless @owner == Process.pid
        @mutex.synchronize { @backend ||= const_get(BACKENDS.fetch(Transfer.config.bridge)).configured }
      end
    end

    # `Process.daemon` forks without `_fork`.
    module ForkHook
      def _fork = Rendezvous.while_unlocked { super }.tap { |pid| Bridge.leave_to_parent if pid.zero? }

      def daemon(...) = Rendezvous.while_unlocked { super }.tap { Bridge.leave_to_parent }
    end
    private_constant :ForkHook

    Process.singleton_class.prepend(ForkHook)
    at_exit { shutdown }
  end
end
