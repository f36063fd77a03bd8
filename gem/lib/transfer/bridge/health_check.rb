# frozen_string_literal: true

module Transfer
  module Bridge
    # After a call has timed out, the worker is sent a ping. A worker that computes responds immediately; one that does
    # not is killed by the channel's supervisor.
    class HealthCheck
      # Seconds to respond.
      TIMEOUT_S = 10
      # Seconds for which the supervisor reads before it kills: the response may have arrived while this process was
      # suspended.
      GRACE_S = 0.05
      private_constant :GRACE_S

      # @return [String, nil] why the worker was killed
      attr_reader :failure

      # @param process [WorkerProcess] one that can't be killed is not checked
      # @yieldreturn [Call, nil] the ping, sent; nil if no calls are accepted any more
      def initialize(process, &send_ping)
        @process = process
        @send_ping = send_ping
        @mutex = Mutex.new
      end

      # To be called after a timeout.
      def start
        @mutex.synchronize do
          next if pending? || !@process.killable?

          @deadline = now + TIMEOUT_S
          @ping = @send_ping.call
        end
      end

      # Waits until the worker has responded or ended.
      def wait = pending? && @ping.wait

      # @return [Numeric, nil] seconds until the deadline
      def seconds_left = ([@deadline - now, GRACE_S].max if pending? && !failure)

      def overdue? = pending? && now > @deadline

      # Kills the worker, unless it has responded meanwhile.
      # @return [Boolean] true if it was killed
      def kill_unresponsive
        return false if !pending? || failure

        @failure = "it did not respond for #{TIMEOUT_S} s and was killed"
        Telemetry.event("event" => "warning", "message" => "the worker (pid #{@process.pid}) hangs: #{failure}")
        @process.kill
        true
      end

      # Kills a worker that has not completed the handshake.
      # @param seconds [Numeric] waited for it
      def kill_unstarted(seconds) = seconds >= TIMEOUT_S && @process.killable? && @process.kill

      private

      def pending? = !(@ping.nil? || @ping.done?)

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
