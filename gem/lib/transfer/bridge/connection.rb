# frozen_string_literal: true

require "io/nonblock"
require "io/wait"
require "socket"

module Transfer
  module Bridge
    # One worker process and the socket to it, from the start of the process to its end.
    #
    # Its threads: the reader starts the process, reads the socket and cleans up; the writer alone writes, so that
    # an interrupted caller never leaves half a frame; one waits for the process, one reads what it prints.
    class Connection
      # How a worker is started.
      Launch = ::Data.define(:command, :env, :startup_timeout, :idle_stop, :logger) do
        def initialize(command:, env: {}, startup_timeout: 60, idle_stop: nil, logger: nil)
          super(command:, env:, startup_timeout:, idle_stop: idle_stop&.clamp(SHORTEST_IDLE_S..), logger:)
        end

        def program = command.first
      end

      # Less would be a busy loop while a call runs.
      SHORTEST_IDLE_S = 0.05

      PROTOCOL = 1

      attr_reader :pid

      def initialize(launch)
        @launch = launch
        @socket, @worker_socket = UNIXSocket.pair
        @output, @worker_output = IO.pipe
        # Ruby makes both non-blocking, for the child, too: its libraries don't expect a print to fail.
        [@worker_socket, @worker_output].each { |io| io.nonblock = false }
        @outbox = Queue.new
        @dispatcher = Dispatcher.new { |frame| send(frame) }
        @hello = @dispatcher.open("hello", { "protocol" => PROTOCOL, "gem_version" => VERSION })
        @reader = Thread.new { live }
        @reader.name = "transfer-reader"
      end

      # Waits until the worker has answered; all who wait share the same answer.
      # @raise [VersionMismatch, TimeoutError, DependencyError, WorkerCrashed]
      def ready!
        return if @ready

        check_version(@hello.value(@launch.startup_timeout))
        @ready = true
      rescue TimeoutError
        stop
        raise TimeoutError, "the worker did not answer within #{@launch.startup_timeout} s of its start"
      end

      def open(...) = @dispatcher.open(...)

      def ready? = @ready && !closed?

      def closed? = @dispatcher.closed?

      # Ends the process and waits for its end.
      # @param reason [Error] what the calls in flight end with
      def stop(reason = Cancelled.new("the worker was shut down"))
        @reason ||= reason
        @dispatcher.close(@reason)
        hang_up
        @reader.join
      end

      # In a forked child: the connection is the parent's. Closing a copy tells the other end nothing.
      def abandon
        [@socket, @worker_socket, @output, @worker_output].each(&:close)
        @outbox.close
        @dispatcher.close(Error.new("this call was made before the process forked; it belongs to the parent"))
      end

      private

      def live
        child = start
        Thread.current.name = "transfer-reader-#{pid}"
        tail = Tail.new(@output, "transfer-stderr-#{pid}", logger: @launch.logger)
        writer = Thread.new { write }
        writer.name = "transfer-writer-#{pid}"
        read
      rescue SystemCallError => error
        @reason ||= ConfigurationError.new("can't start #{@launch.program}: #{error.message}")
      ensure
        clean_up(child, writer, tail)
      end

      def start
        child = Child.new(@launch, @worker_socket, @worker_output) { hang_up }
        @pid = child.pid
        child
      ensure
        @worker_socket.close
        @worker_output.close
      end

      def read
        while call_expected? && (frame = Frame.read(@socket))
          @dispatcher.receive(Message.parse(*frame))
        end
      rescue Frame::CutShort, IOError, SystemCallError # the worker is gone
        nil
      rescue ProtocolError => error
        @reason ||= error
      end

      # False if nothing came and nothing was asked for long enough.
      def call_expected?
        loop do
          return true if @socket.wait_readable(@launch.idle_stop)
          return false if @dispatcher.close_if_idle
        end
      end

      def write
        while (frame = @outbox.pop)
          @socket.write(frame)
        end
      rescue IOError, SystemCallError # the reader sees the end, too
        nil
      end

      def send(frame)
        @outbox << frame
      rescue ClosedQueueError # the answer of a stream comes too late
        nil
      end

      # What has arrived can still be read; then the reader is at the end of the stream.
      def hang_up
        @socket.shutdown
      rescue IOError, SystemCallError # already closed
        nil
      end

      def clean_up(child, writer, tail)
        @socket.close
        @outbox.close
        status = child&.reap
        writer&.join
        tail ? tail.finish(0.5) : @output.close
        @dispatcher.close(@reason || crash(status, tail&.text.to_s))
      end

      def crash(status, stderr)
        missing = stderr[/No module named '?(\w+)/, 1] unless @ready
        return DependencyError.new("#{@launch.program} has no module #{missing}: run `transfer setup`") if missing

        signal = status&.termsig && "SIG#{Signal.signame(status.termsig)}"
        WorkerCrashed.new(pid:, exit_status: status&.exitstatus, signal:, stderr:)
      end

      def check_version(facts)
        protocol, core_version = facts.values_at("protocol", "core_version")
        return if protocol == PROTOCOL

        mismatch = VersionMismatch.new(
          "transfer-rb #{VERSION} speaks protocol #{PROTOCOL}, transfer-core #{core_version} speaks #{protocol}: " \
          "run `transfer setup`"
        )
        stop(mismatch)
        raise mismatch
      end
    end
  end
end
