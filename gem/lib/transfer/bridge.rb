# frozen_string_literal: true

require_relative "bridge/framing"
require_relative "bridge/schema"
require_relative "bridge/method_schemas"
require_relative "bridge/message"
require_relative "bridge/connection"
require_relative "bridge/call"
require_relative "bridge/dispatcher"
require_relative "bridge/shared_memory"
require_relative "bridge/exit_report"
require_relative "bridge/worker_process"
require_relative "bridge/launch_options"
require_relative "bridge/reader"
require_relative "bridge/health_check"
require_relative "bridge/handshake"
require_relative "bridge/backoff"
require_relative "bridge/channel"
require_relative "bridge/pool"
require_relative "bridge/shared_worker"

module Transfer
  # Calls to the Python worker. No process is started before the first call; a forked child starts its own.
  module Bridge
    autoload :PyCall, "#{__dir__}/bridge/pycall"

    # Seconds for which a signal's trap waits for a shutdown; the interrupted thread may hold a mutex that it needs.
    TRAP_TIMEOUT_S = 5
    private_constant :TRAP_TIMEOUT_S

    @mutex = Mutex.new
    @owner = Process.pid

    class << self
      # @param name [String] the method
      # @param params [Hash{String => Object}]
      # @param streams [Hash{String => Source::RowStream}]
      # @return [Call] in flight
      def start(name, params, streams: {}) = pool.call(name, params, streams:)

      # Cancels the call if the calling thread is interrupted.
      # @param params [Hash{String => Object}]
      # @param timeout [Numeric, nil] seconds
      # @yieldparam event [Hash{String => Object}] each event; leaving the block early cancels the call
      # @return the result
      # @raise [Error, ArgumentError] (see Call#value)
      def call(name, params = {}, streams: {}, timeout: Transfer.config.timeout, &listener)
        Telemetry.call(name, inputs: params["inputs"]&.size, model: params["model"]) do
          call = pool.call(name, params, streams:, awaited: !listener)
          if listener
            call.each_event do |event|
              Telemetry.event(event)
              listener.call(event)
            end
          end
          call.value(timeout)
        ensure
          call&.cancel
        end
      end

      # Ends all workers and waits for their end.
      # @param shared [Boolean] true: also the shared worker, which other processes may be using
      def shutdown(shared: false)
        replace(nil)&.stop
        SharedWorker.stop if shared
      rescue ThreadError # a mutex can't be locked in a signal's trap
        Thread.new { shutdown(shared:) }.join(TRAP_TIMEOUT_S)
      end

      # @return [Hash{Symbol => Hash}] see `Transfer.stats`
      def stats = { workers: @mutex.synchronize { @pool }&.stats || {}, calls: Telemetry.stats }

      # @return [Pool] as configured; each worker is started with the settings at that moment
      def configured_pool(config = Transfer.config)
        return PyCall.pool if config.bridge == :pycall

        shared = SharedWorker.method(:launch_options) if config.shared_worker
        Pool.new(shared:) { LaunchOptions.configured }
      end

      # Replaces the configured pool.
      # @param pool [Pool, nil]
      # @return [Pool, nil] the former one
      def replace(pool)
        leave_to_parent unless @owner == Process.pid
        @mutex.synchronize { @pool.tap { @pool = pool } }
      end

      # In a forked child, where no other thread runs: the workers belong to the parent.
      def leave_to_parent
        inherited = @pool
        @mutex = Mutex.new
        @pool = nil
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

      def pool
        leave_to_parent unless @owner == Process.pid
        @mutex.synchronize { @pool ||= configured_pool }
      end
    end

    # `Process.daemon` forks without `_fork`.
    module ForkHook
      def _fork = SharedWorker::Endpoint.while_unlocked { super }.tap { |pid| Bridge.leave_to_parent if pid.zero? }

      def daemon(...) = SharedWorker::Endpoint.while_unlocked { super }.tap { Bridge.leave_to_parent }
    end
    private_constant :ForkHook

    Process.singleton_class.prepend(ForkHook)
    at_exit { shutdown }
  end
end
