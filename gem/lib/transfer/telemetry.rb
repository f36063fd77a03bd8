# frozen_string_literal: true

require_relative "telemetry/calls"

module Transfer
  # Durations of calls for `Transfer.stats`, notifications of ActiveSupport where that is loaded, lines on the logger.
  #
  # A notification is sent for each operation under its name: `train.transfer`, `predict.transfer`, `embed.transfer`,
  # `evaluate.transfer`, `load.transfer` …; besides `epoch.transfer`, `worker_start.transfer`, `worker_stop.transfer`,
  # `worker_crash.transfer` and `warning.transfer`. docs/guides/operate.md lists their payloads.
  module Telemetry
    # Operations whose name differs from the worker's method.
    OPERATIONS = { "resume" => "train", "describe" => "load" }.freeze
    private_constant :OPERATIONS

    @calls = {}
    @mutex = Mutex.new

    class << self
      # Yields, and records duration and outcome.
      # @param method [String] of the worker
      # @param payload [Hash{Symbol => Object}] of the notification; `inputs` is also recorded
      # @yieldparam payload [Hash{Symbol => Object}] to be completed by the block
      # @return what the block returns
      def call(method, **payload)
        started = now
        payload = payload.compact
        result = notify(OPERATIONS.fetch(method, method), payload) { yield payload }
        note(method, now - started, payload[:inputs])
        result
      rescue Exception => error # rubocop:disable Lint/RescueException -- recorded, and raised again
        note(method, now - started, payload[:inputs], error)
        raise
      end

      # An epoch of a training has ended.
      # @param run_id [String]
      # @param epoch [Event::Epoch]
      def epoch(run_id, epoch) = notify("epoch", { run_id:, **epoch.to_h }) { nil }

      # A worker has started or ended.
      # @param event [Symbol] :start or :stop
      # @param reason [Error, nil] of the end: {Cancelled} of an orderly one
      def worker(event, pid:, reason: nil)
        observed do
          Transfer.config.logger&.info(
            "transfer: worker #{pid} #{event == :start ? 'started' : "ended: #{reason.message}"}"
          )
          notify(*ending(event, pid, reason)) { nil }
        end
      end

      # An event of a call without a listener. Without a logger, a warning is one of Ruby's own.
      # @param event [Hash{String => Object}]
      def event(event)
        return unless event["event"] == "warning"

        message = event["message"]
        logger = Transfer.config.logger
        observed do
          logger ? logger.warn(message) : warn(message)
          notify("warning", { message: }) { nil }
        end
      end

      # @return [Hash{Symbol => Hash}] {Calls#to_h} by method
      def stats = @mutex.synchronize { @calls.to_h { |method, calls| [method.to_sym, calls.to_h] } }

      # In a forked child, which starts with empty statistics.
      def forget
        @mutex = Mutex.new
        @calls = {}
      end

      private

      # @return [Array(String, Hash)] name and payload of a worker's notification
      def ending(event, pid, reason)
        return ["worker_start", { pid: }] if event == :start
        return ["worker_stop", { pid:, reason: reason.message }] if reason.is_a?(Cancelled)

        status = reason.is_a?(WorkerCrashed) ? { exit_status: reason.exit_status, signal: reason.signal } : {}
        ["worker_crash", { pid:, error: reason.class.name, message: reason.message, **status }.compact]
      end

      # In a thread that others depend on, which an observer must not end.
      def observed
        yield
      rescue StandardError => error
        warn("a logger or a subscriber raised #{error.class}: #{error.message}")
      end

      # Warnings may be errors, and standard error closed.
      def warn(message)
        super("transfer: warning: #{message}")
      rescue StandardError
        nil
      end

      def notify(event, payload, &)
        return yield unless defined?(ActiveSupport::Notifications)

        ActiveSupport::Notifications.instrument("#{event}.transfer", payload, &)
      end

      def note(method, seconds, inputs, error = nil)
        @mutex.synchronize { (@calls[method] ||= Calls.new).add(seconds, inputs, failed: !error.nil?) }
        Transfer.config.logger&.debug do
          line = [method, ("(#{inputs})" if inputs), error ? error.class : "done"].compact.join(" ")
          "transfer: #{line} #{(seconds * 1000).round(1)} ms"
        end
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
