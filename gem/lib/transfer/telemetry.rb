# frozen_string_literal: true

module Transfer
  # What can be seen of calls and workers from outside: durations for `Transfer.stats`, ActiveSupport's notifications
  # where that is loaded, lines on the logger.
  #
  # `call.transfer` is sent for each call, with `method`, `inputs` (how many, where it has some) and, as everywhere,
  # `exception`; `start.transfer` and `stop.transfer` for each worker, with `pid` and, at the end, `reason`;
  # `warning.transfer` with the `message` of what a prediction or an evaluation warns of.
  module Telemetry
    @calls = {}
    @mutex = Mutex.new

    class << self
      # Yields, and notes how long that took and how it ended.
      # @param method [String] the worker's
      # @param inputs [Integer, nil] how many
      # @return what the block returns
      def call(method, inputs = nil, &)
        started = now
        result = notify("call", inputs ? { method:, inputs: } : { method: }, &)
        note(method, now - started, inputs)
        result
      rescue Exception => error # rubocop:disable Lint/RescueException -- noted, and raised again
        note(method, now - started, inputs, error)
        raise
      end

      # A worker has started or ended.
      # @param event [Symbol] :start or :stop
      def worker(event, pid:, reason: nil)
        observed do
          Transfer.config.logger&.info("transfer: worker #{pid} #{event == :start ? 'started' : "ended: #{reason}"}")
          notify(event, { pid:, reason: }.compact) { nil }
        end
      end

      # A call that nobody listens to was told something. Without a logger, a warning is one of Ruby's own.
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

      # @return [Hash{Symbol => Hash}] what {Calls#to_h} says, by method
      def stats = @mutex.synchronize { @calls.to_h { |method, calls| [method.to_sym, calls.to_h] } }

      # In a forked child: what the parent did is not ours.
      def forget
        @mutex = Mutex.new
        @calls = {}
      end

      private

      # In a thread that others depend on: who observes must not end it.
      def observed
        yield
      rescue StandardError => error
        warn("a logger or a subscriber raised #{error.class}: #{error.message}")
      end

      # Where warnings are made errors, or standard error is closed, there is nobody left to tell.
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
          said = [method, ("(#{inputs})" if inputs), error ? error.class : "done"].compact.join(" ")
          "transfer: #{said} #{(seconds * 1000).round(1)} ms"
        end
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end

    # The calls of one method.
    class Calls
      # How many durations and sizes are kept for the percentiles.
      KEPT = 1000
      PERCENTILES = { p50: 0.5, p90: 0.9, p99: 0.99 }.freeze

      def initialize
        @count = @failed = 0
        @seconds = []
        @inputs = []
      end

      # @param inputs [Integer, nil]
      def add(seconds, inputs, failed:)
        @seconds[@count % KEPT] = seconds
        @inputs[@count % KEPT] = inputs if inputs
        @count += 1
        @failed += 1 if failed
      end

      # @return [Hash{Symbol => Object}] `count` and `failed` of all; of the last thousand the percentiles of
      #   `seconds`, and of `inputs` where there are some
      def to_h
        inputs = @inputs.compact
        { count: @count, failed: @failed, seconds: percentiles(@seconds),
          inputs: (percentiles(inputs) unless inputs.empty?) }.compact
      end

      private

      def percentiles(values)
        sorted = values.sort
        { **PERCENTILES.transform_values { |share| sorted[(sorted.size * share).ceil - 1] }, max: sorted.last }
      end
    end
    private_constant :Calls
  end
end
