# frozen_string_literal: true

module Transfer
  module Bridge
    # Calls to one worker, from its start to its end.
    #
    # The channel's own thread, the supervisor, starts the worker, reads when no caller does ({Reader}), kills a
    # worker that hangs ({HealthCheck}), ends one that has reached its {LaunchOptions::Limits}, and cleans up.
    class Channel
      RETIRED = "it takes no more calls"
      # Seconds for which the supervisor reads before it checks the health of the worker.
      HEALTH_INTERVAL_S = 1
      private_constant :RETIRED, :HEALTH_INTERVAL_S

      # @param launch [LaunchOptions]
      # @param backoff [Backoff] shared with the channels before and after this one
      def initialize(launch, backoff)
        @launch = launch
        @backoff = backoff
        @created = now
        @delay = backoff.delay
        @memory = SharedMemory.new
        @process = launch.process.call(launch, @memory.files) { @shut_down }
        @connection = Connection.new(@process.socket, trace: launch.trace) { pid }
        @dispatcher = Dispatcher.new { |message| send_message(message) }
        @reader = Reader.new(@connection, due: -> { @dispatcher.busy? }) { |message| receive(message) }
        @health = HealthCheck.new(@process) { ping }
        @handshake = Handshake.new { |method, params| send_request(method, params) }
        @supervisor = Thread.new { supervise }
      end

      # Waits for the handshake. Later it waits only while a health check is pending.
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed, ProtocolError]
      def ready!
        return @health.wait if @ready

        @handshake.check(@launch.startup_timeout + @delay)
        @ready = true
      rescue VersionMismatch, ProtocolError => error
        stop(error)
        raise
      rescue TimeoutError
        @health.kill_unstarted(@launch.startup_timeout)
        stop
        raise TimeoutError, "the worker did not respond within #{@launch.startup_timeout} s of its start. " \
                            "Try: transfer doctor --bridge, or a longer Transfer.config.startup_timeout"
      end

      # Sends a request.
      # @param awaited [Boolean] true: the caller calls {Call#wait} immediately, and reads for itself
      # @param options (see Dispatcher#open)
      # @return [Call, nil] (see Dispatcher#open)
      def open(name, params, awaited: false, **options)
        call = @memory.share(params) { |shared| send_request(name, shared, awaited:, **options) } or return
        @dispatcher.retire if @dispatcher.opened > (@launch.limits.max_requests || Float::INFINITY)
        awaited ? call.read_with { |deadline| read_for(call, deadline) } : @reader.wake
        call.on_timeout { @health.start }
        call
      end

      def pid = @process.pid

      def ready? = @ready && !closed?

      # @return [Boolean] true if it accepts no more calls
      def closed? = @dispatcher.closed?

      # @return [Boolean] false once the worker has ended and everything is cleaned up
      def alive? = @supervisor.alive?

      # @return [Boolean] whether the worker is ready and has that method
      def supports?(method) = ready? && @handshake.supports?(method)

      # @return [Hash{Symbol => Object}]
      def stats
        handshakes = @handshake.done? ? 0 : 1
        { pid:, memory: pid && WorkerProcess.resident_memory(pid),
          in_flight: [@dispatcher.in_flight - handshakes, 0].max, calls: [@dispatcher.answered - 1, 0].max,
          age: age_s.round(1), idle: @dispatcher.idle_s.round(1) }
      end

      # Ends the worker and waits for its end.
      # @param reason [Error] of the calls in flight
      def stop(reason = Cancelled.new("the worker was shut down"))
        @reason ||= reason
        @dispatcher.close(@reason)
        shut_down
        @supervisor.join
      end

      # In a forked child: the channel is the parent's.
      def abandon
        [@connection, @process].each(&:abandon)
        @memory.close
        @dispatcher.close(Error.new("this call was made before the process forked; it belongs to the parent"))
      end

      private

      def send_request(name, params, **)
        @dispatcher.open(name, params, **) { |request| @connection.write(request) }
      end

      def receive(message)
        @dispatcher.receive(@memory.receive(message))
        @backoff.reset if @dispatcher.answered > 1
      end

      def send_message(message)
        @connection.write(message)
        # A caller that cancels does not wait any longer; the supervisor reads the response.
        @reader.wake if message.is_a?(Message::Notification)
      end

      def ping = send_request(Dispatcher::PING, {}).tap { @reader.wake }

      def supervise
        Thread.current.name = "transfer-supervisor"
        ending_on_error do
          start
          read_and_check until @ended || @reader.ended?
        end
      ensure
        ending_on_error { @reader.drain }
        ending_on_error { clean_up }
        @memory.close
        @dispatcher.close(@reason)
        Telemetry.worker(:stop, pid:, reason: @reason) if pid
      end

      # An error in the supervisor's thread ends the calls in flight.
      def ending_on_error
        begin
          yield
        rescue Error
          raise
        rescue StandardError => error
          raise Error, "the worker's supervisor failed: #{error.class}: #{error.message}"
        end
      rescue Error => error
        @ended = true
        @reason ||= error
      end

      def start
        @reader.sleep(@created + @delay - now) while @reason.nil? && now < @created + @delay
        return @ended = true if @reason

        @process.start { |event| event == :retiring ? retire_shared : shut_down }
        Thread.current.name = "transfer-supervisor-#{pid}"
        Telemetry.worker(:start, pid:) if pid
      rescue SystemCallError => error
        raise ConfigurationError, "can't start #{@launch.program}: #{error.message}"
      end

      def read_and_check
        overdue = @health.overdue?
        seconds = [@launch.limits.interval(idle_s: @dispatcher.idle_s, age_s:), @health.seconds_left].compact.min
        @reader.wait_until_due(seconds)
        deadline = now + [seconds, HEALTH_INTERVAL_S].compact.min
        @reader.read(deadline) { !@dispatcher.busy? && !@shut_down }
        shut_down if overdue && @health.kill_unresponsive
        retire_at_limit unless @reader.ended?
      end

      def retire_at_limit
        exceeded = @launch.limits.exceeded(idle_s: @dispatcher.idle_s, age_s:, requests: @dispatcher.opened - 1, pid:)
        retire(exceeded || RETIRED) if exceeded || closed?
      end

      # A shared worker accepts no more calls; open ones continue.
      def retire_shared
        @dispatcher.retire
        @reader.wake
      end

      # Open calls continue; the next ones go to another worker.
      def retire(reason)
        @dispatcher.retire
        return if @dispatcher.busy?

        @reason ||= Cancelled.new("the worker was stopped: #{reason}")
        @ended = true
      end

      # In a caller's thread.
      def read_for(call, deadline)
        @reader.read(deadline) { call.done? }
      ensure
        @reader.close if @reader.ended?
        @reader.wake if @reader.ended? || closed?
      end

      # The reading thread sees the end of the stream, and the supervisor cleans up.
      def shut_down
        @shut_down = true
        @connection.shutdown
        @reader.wake
      end

      def clean_up
        @reader.close
        @reason ||= @reader.error
        exit_report = @process.reap(handshaken: @dispatcher.answered.positive?)
        retire(RETIRED) if closed?
        @backoff.crashed if @reason.nil? || @reason.is_a?(ProtocolError)
        @reason ||= exit_report.to_error([@health.failure, @backoff.note].compact.join("; "))
      end

      def age_s = now - @created

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
