# frozen_string_literal: true

module Transfer
  module Bridge
    # One worker and the socket to it, from its start to its end.
    #
    # Its own thread is the keeper: it starts the worker, reads when no caller does ({Turn}), ends the worker when it
    # has been kept for long enough ({Limits}), and cleans up.
    class Connection
      NO_MORE_CALLS = "it takes no more calls"
      # Seconds that the keeper reads before it looks whether the worker is in doubt.
      LOOK_UP_S = 1
      private_constant :NO_MORE_CALLS, :LOOK_UP_S

      # @return [Float] when it was made (monotonic)
      attr_reader :started

      def initialize(launch, crash_loop = CrashLoop.new)
        @launch = launch
        @crash_loop = crash_loop
        @started = now
        @memory = SharedMemory.new
        @child = launch.child.call(launch, @memory.files) { @hung_up }
        @wire = Wire.new(@child.socket)
        @messages = Messages.new(@wire, launch.trace) { pid }
        @dispatcher = Dispatcher.new { |message| post(message) }
        @turn = Turn.new { @dispatcher.in_flight.positive? }
        @doubt = Doubt.new(@child) { @dispatcher.open(Doubt::QUESTION, {}).tap { @turn.call_keeper } }
        @delay = crash_loop.pause
        @greeting = Greeting.new(@dispatcher)
        @keeper = Thread.new { live }
      end

      # Waits until the worker has answered; all who wait share the same answer. Later it waits only where a call has
      # waited in vain, until it is known whether the worker still does anything.
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed, ProtocolError]
      def ready!
        return @doubt.settle if @ready

        @greeting.check(@launch.startup_timeout + @delay)
        @ready = true
      rescue VersionMismatch, ProtocolError => error
        stop(error)
        raise
      rescue TimeoutError
        @doubt.condemn(@launch.startup_timeout)
        stop
        raise TimeoutError, "the worker did not answer within #{@launch.startup_timeout} s of its start"
      end

      # Sends a request.
      # @param awaited [Boolean] true: the caller calls {Call#wait} at once, and reads for itself
      # @return [Call, nil] nil if there are to be no more calls, or if one named `unless_running` is running
      def open(name, params, awaited: false, **)
        call = @memory.lend(params) { |lent| @dispatcher.open(name, lent, awaited:, **) } or return
        @dispatcher.retire if @dispatcher.opened > (@launch.limits.max_requests || Float::INFINITY)
        awaited ? call.read_by { |limit| read_for(call, limit) } : @turn.call_keeper
        call.when_late { @doubt.arise }
        call
      end

      def pid = @child.pid

      def ready? = @ready && !closed?

      # @return [Boolean] true if the worker is there and has a method of that name
      def can?(name) = ready? && @greeting.offers?(name)

      # @return [Boolean] true if it takes no more calls
      def closed? = @dispatcher.closed?

      # @return [Boolean] false once the worker is gone and nothing of it is left
      def alive? = @keeper.alive?

      # @return [Hash{Symbol => Object}]
      def stats
        greetings = @greeting.done? ? 0 : 1
        { pid:, memory: pid && Memory.resident(pid), in_flight: [@dispatcher.in_flight - greetings, 0].max,
          calls: [@dispatcher.answered - 1, 0].max, age: (now - @started).round(1), idle: idle_s.round(1) }
      end

      # Ends the process and waits for its end.
      # @param reason [Error] what the calls in flight end with
      def stop(reason = Cancelled.new("the worker was shut down"))
        @reason ||= reason
        @dispatcher.close(@reason)
        hang_up
        @keeper.join
      end

      # In a forked child: the connection is the parent's.
      def abandon
        [@wire, @child].each(&:abandon)
        @memory.close
        @dispatcher.close(Error.new("this call was made before the process forked; it belongs to the parent"))
      end

      private

      def live
        Thread.current.name = "transfer-keeper"
        or_give_up do
          start
          keep until @ended
        end
      ensure
        or_give_up { read_the_rest }
        or_give_up { clean_up }
        @memory.close
        @dispatcher.close(@reason)
        Telemetry.worker(:stop, pid:, reason: @reason) if pid
      end

      # Whatever goes wrong here, those who wait must hear of it.
      def or_give_up(&) = Fault.of(&)&.then { |error| give_up(error) }

      def give_up(error)
        @ended = true
        @reason ||= error
      end

      def start
        @turn.nap(@started + @delay - now) while @reason.nil? && now < @started + @delay
        return @ended = true if @reason

        @launch.attempt { @child.start { |stays| stays ? stop_calls : hang_up } }
        Thread.current.name = "transfer-keeper-#{pid}"
        Telemetry.worker(:start, pid:) if pid
      end

      def keep
        overdue = @doubt.overdue?
        read_for_all([@launch.limits.pause(idle_s:, age_s:), @doubt.pause].compact.min)
        hang_up if overdue && @doubt.judge
        excess = @launch.limits.reason(idle_s:, age_s:, requests: @dispatcher.opened - 1, pid:)
        retire(excess || NO_MORE_CALLS) if (excess || closed?) && !@ended
      end

      # The worker takes no more calls, and goes on with ours.
      def stop_calls
        @dispatcher.retire
        @turn.call_keeper
      end

      # Calls in flight go on; the next ones go to another worker.
      def retire(excess)
        @dispatcher.retire
        return if @dispatcher.in_flight.positive?

        @reason ||= Cancelled.new("the worker was stopped: #{excess}")
        @ended = true
      end

      # In the keeper's thread.
      def read_for_all(seconds)
        @turn.wait(seconds)
        @turn.take { read(now + [seconds, LOOK_UP_S].compact.min) { @dispatcher.in_flight.zero? && !@hung_up } }
      end

      # In a caller's thread.
      def read_for(call, limit)
        @turn.take { read(limit) { call.done? } }
      ensure
        close_wire if @ended
        @turn.call_keeper if @ended || closed?
      end

      # Until the block says so, the time is up, or the stream ends.
      def read(limit = nil)
        until @ended || yield
          message = @messages.read(limit) or return
          @dispatcher.receive(@memory.receive(message))
          @crash_loop.over if @dispatcher.answered > 1
        end
      rescue Frame::CutShort, IOError, SystemCallError # the worker is gone
        @ended = true
      rescue ProtocolError => error
        give_up(error)
      end

      def post(message)
        @messages.write(message)
        # Who cancels goes away; the answer is read by the keeper.
        @turn.call_keeper if message.is_a?(Message::Notification)
      end

      # Then whoever reads is at the end of the stream, and the keeper cleans up.
      def hang_up
        @hung_up = true
        @wire.hang_up
        @turn.call_keeper
      end

      def clean_up
        close_wire
        death = @child.bury(greeted: @dispatcher.answered.positive?)
        retire(NO_MORE_CALLS) if closed?
        @crash_loop.crashed if @reason.nil? || @reason.is_a?(ProtocolError)
        @reason ||= death.to_error([@doubt.verdict, @crash_loop.note].compact.join("; "))
      end

      # Closing it under a thread that waits at it would raise there: if it is another's turn, that thread does it.
      def close_wire = @turn.take { @wire.close }

      # What the worker said before its end. A caller whose turn it is reads it as well.
      def read_the_rest
        @wire.hang_up
        until @ended
          @turn.take { read { false } }
          @turn.wait(0.01) unless @ended
        end
      end

      def idle_s = @dispatcher.in_flight.zero? ? now - @dispatcher.used : 0

      def age_s = now - @started

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
