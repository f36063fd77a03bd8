# frozen_string_literal: true

module Transfer
  module Bridge
    # One worker and the socket to it, from its start to its end.
    #
    # Its own thread is the keeper: it starts the worker, reads when no caller does ({Turn}), ends the worker when it
    # has been kept for long enough ({Limits}), and cleans up.
    class Connection
      PROTOCOL = 1
      NO_MORE_CALLS = "it takes no more calls"
      private_constant :NO_MORE_CALLS

      # @return [Float] when it was made (monotonic)
      attr_reader :started

      def initialize(launch, crash_loop = CrashLoop.new)
        @launch = launch
        @crash_loop = crash_loop
        @started = now
        @memory = SharedMemory.new
        @child = launch.child.call(launch, @memory.files) { @hung_up }
        @wire = Wire.new(@child.socket)
        @dispatcher = Dispatcher.new { |message| post(message) }
        @turn = Turn.new { @dispatcher.in_flight.positive? }
        @doubt = Doubt.new(@child) { @dispatcher.open(Doubt::QUESTION, {}).tap { @turn.call_keeper } }
        @delay = crash_loop.pause
        @hello = @dispatcher.open("hello", { "protocol" => PROTOCOL, "gem_version" => VERSION })
        @keeper = Thread.new { live }
        @keeper.name = "transfer-keeper"
      end

      # Waits until the worker has answered; all who wait share the same answer. Later it waits only where a call has
      # waited in vain, until it is known whether the worker still does anything.
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed]
      def ready!
        return @doubt.settle if @ready

        check_version(@hello.value(@launch.startup_timeout + @delay))
        @ready = true
      rescue TimeoutError
        @doubt.condemn(@launch.startup_timeout)
        stop
        raise TimeoutError, "the worker did not answer within #{@launch.startup_timeout} s of its start"
      end

      # Sends a request.
      # @param awaited [Boolean] true: the caller calls {Call#wait} at once, and reads for itself
      # @return [Call, nil] nil if there are to be no more calls, or if one named `unless_running` is running
      def open(name, params, awaited: false, **)
        call = @memory.lend(params) { |lent| @dispatcher.open(name, lent, **) } or return
        @dispatcher.retire if @dispatcher.opened > (@launch.limits.max_requests || Float::INFINITY)
        awaited ? call.read_by { |limit| read_for(call, limit) } : @turn.call_keeper
        call.when_late { @doubt.arise }
        call
      end

      def pid = @child.pid

      def ready? = @ready && !closed?

      # @return [Boolean] true if the worker is there and has a method of that name
      def can?(name) = ready? && @hello.value.fetch("capabilities", []).include?(name)

      # @return [Boolean] true if it takes no more calls
      def closed? = @dispatcher.closed?

      # @return [Boolean] false once the worker is gone and nothing of it is left
      def alive? = @keeper.alive?

      # @return [Hash{Symbol => Object}]
      def stats
        { pid:, memory: pid && Memory.resident(pid), in_flight: @dispatcher.in_flight - (@ready ? 0 : 1),
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
        start
        keep until @ended
      rescue SystemCallError => error
        @reason ||= ConfigurationError.new("can't start #{@launch.program}: #{error.message}")
      rescue Error => error
        @reason ||= error
      ensure
        clean_up
      end

      def start
        @turn.nap(@started + @delay - now) while @reason.nil? && now < @started + @delay
        return @ended = true if @reason

        @child.start { |stays| stays ? stop_calls : hang_up }
        Thread.current.name = "transfer-keeper-#{pid}"
        Telemetry.worker(:start, pid:) if pid
      end

      def keep
        pause = @launch.limits.pause(idle_s:, age_s:)
        @turn.wait(pause)
        @turn.take { read(pause && (now + pause)) { @dispatcher.in_flight.zero? && !@hung_up } }
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

      # In a caller's thread.
      def read_for(call, limit)
        @turn.take { read(limit) { call.done? } }
        @turn.call_keeper if @ended || closed?
      end

      # Until the block says so, the time is up, or the stream ends.
      def read(limit = nil)
        until @ended || yield
          content = @wire.read(limit) or return
          deliver(content)
        end
      rescue Frame::CutShort, IOError, SystemCallError # the worker is gone
        @ended = true
      rescue ProtocolError => error
        @reason ||= error
        @ended = true
      end

      def deliver(content)
        message = Message.parse(Frame.decode(content))
        @launch.trace&.line(:received, message, content.bytesize, pid)
        @dispatcher.receive(@memory.receive(message))
      end

      def post(message)
        frame = Frame.encode(message.to_wire)
        @launch.trace&.line(:sent, message, frame.bytesize - Frame::HEADER_BYTES, pid)
        @wire.write(frame)
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
        read_the_rest
        @wire.close
        death = @child.bury(greeted: @ready)
        @memory.close
        retire(NO_MORE_CALLS) if closed?
        @crash_loop.crashed(answered: @dispatcher.answered > 1) if @reason.nil? || @reason.is_a?(ProtocolError)
        @reason ||= death.to_error([@doubt.verdict, @crash_loop.note].compact.join("; "))
        @dispatcher.close(@reason)
        Telemetry.worker(:stop, pid:, reason: @reason.message) if pid
      end

      # What the worker said before its end. A caller whose turn it is reads it as well.
      def read_the_rest
        @wire.hang_up
        until @ended
          @turn.take { read { false } }
          @turn.wait(0.01) unless @ended
        end
      end

      def check_version(facts)
        protocol, core_version = facts.values_at("protocol", "core_version")
        return if protocol == PROTOCOL

        mismatch = VersionMismatch.new("transfer-rb #{VERSION} speaks protocol #{PROTOCOL}, transfer-core " \
                                       "#{core_version} speaks #{protocol}: run `transfer setup`")
        stop(mismatch)
        raise mismatch
      end

      def idle_s = @dispatcher.in_flight.zero? ? now - @dispatcher.used : 0

      def age_s = now - @started

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
