# frozen_string_literal: true

module Transfer
  module Doctor
    # The life of a worker, tried out on one of its own: from its start to what is left after its end.
    class BridgeTest
      CALLS = 500
      # Seconds that a step may take.
      PATIENCE_S = 30

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
        format("worker %d answers after %.2f s", @worker.pid, seconds)
      end

      def round_trips
        # The worker imports PyTorch meanwhile; half of the calls come after that.
        times = Array.new(2 * CALLS) { timed { ask("ping") } }.last(CALLS).sort
        format("%d calls: half of them within %.0f us, 99 %% within %.0f us", CALLS,
               times[CALLS / 2] * 1e6, times[CALLS * 99 / 100] * 1e6)
      end

      def big_message
        name = "x" * 1_000_000
        wrong = refusal { ask("backbone", "name" => name) }
        expect(wrong.is_a?(RecipeError), "a name of 1 MB was answered with #{wrong.class}")
        "1 MB there, a refusal back"
      end

      def error
        wrong = refusal { ask("no such method") }
        expect(wrong.is_a?(RemoteError), "an unknown method was answered with #{wrong.class}")
        "an unknown method is refused"
      end

      def crash
        first = @worker.pid
        Process.kill(:KILL, first)
        sleep 0.01 while @worker.ready?
        ask("ping")
        expect(@worker.pid != first, "worker #{first} was killed, and is still there")
        "worker #{first} was killed, worker #{@worker.pid} took its place"
      end

      def stop
        pid = @worker.pid
        seconds = timed { @worker.stop }
        expect(Bridge::WorkerProcess.resident_memory(pid).nil?, "worker #{pid} is still there")
        format("worker %d is gone after %.2f s", pid, seconds)
      end

      def ask(name, params = {}) = @worker.call(name, params, awaited: true).value(PATIENCE_S)

      def refusal
        yield
        nil
      rescue Error => error
        error
      end

      def expect(truth, message)
        raise ProtocolError, message unless truth
      end

      def timed
        started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
        yield
        Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
      end
    end
  end
end
