# frozen_string_literal: true

module Transfer
  module Doctor
    # Tests the bridge with a worker of its own: start, calls, errors, crash, end.
    class BridgeTest
      CALLS = 500
      # Seconds per call.
      TIMEOUT_S = 30

      # @return [Array<Check>] up to the first step that failed
      def checks
        @worker = Bridge::Pool::Worker.new { Bridge::LaunchOptions.configured }
        steps = %i[start round_trips big_message error crash stop]
        steps.each_with_object([]) do |step, done|
          done << check(step)
          break done unless done.last.ok
        end
      ensure
        @worker&.stop
      end

      private

      def check(step)
        Check.new("bridge: #{step.to_s.tr('_', ' ')}", true, send(step), nil)
      rescue Error => error
        Check.new("bridge: #{step.to_s.tr('_', ' ')}", false, error.message.lines.first.chomp, "transfer doctor")
      end

      def start
        seconds = timed { ask("ping") }
        format("worker %d responds after %.2f s", @worker.pid, seconds)
      end

      def round_trips
        # The worker imports PyTorch during the first half of the calls.
        times = Array.new(2 * CALLS) { timed { ask("ping") } }.last(CALLS).sort
        format("%d calls: median %.0f us, 99th percentile %.0f us", CALLS,
               times[CALLS / 2] * 1e6, times[CALLS * 99 / 100] * 1e6)
      end

      def big_message
        name = "x" * 1_000_000
        error = error_of { ask("backbone", "name" => name) }
        expect(error.is_a?(RecipeError), "a name of 1 MB caused #{error.class}, expected RecipeError")
        "1 MB sent, the expected error received"
      end

      def error
        error = error_of { ask("no such method") }
        expect(error.is_a?(RemoteError), "an unknown method caused #{error.class}, expected RemoteError")
        "an unknown method is refused"
      end

      def crash
        first = @worker.pid
        Process.kill(:KILL, first)
        sleep 0.01 while @worker.ready?
        ask("ping")
        expect(@worker.pid != first, "worker #{first} was killed, and still runs")
        "worker #{first} was killed, and replaced by worker #{@worker.pid}"
      end

      def stop
        pid = @worker.pid
        seconds = timed { @worker.stop }
        expect(Bridge::WorkerProcess.resident_memory(pid).nil?, "worker #{pid} still runs")
        format("worker %d ended after %.2f s", pid, seconds)
      end

      def ask(name, params = {}) = @worker.call(name, params, awaited: true).value(TIMEOUT_S)

      def error_of
        yield
        nil
      rescue Error => error
        error
      end

      def expect(condition, message)
        raise ProtocolError, message unless condition
      end

      def timed
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        yield
        Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      end
    end
  end
end
