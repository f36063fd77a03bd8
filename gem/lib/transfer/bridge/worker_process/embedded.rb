# frozen_string_literal: true

module Transfer
  module Bridge
    class WorkerProcess
      # Threads of a Python in this process. They can't be killed.
      class Embedded < WorkerProcess
        # Seconds to stop a computation after the end of the socket.
        EXIT_TIMEOUT_S = 10
        private_constant :EXIT_TIMEOUT_S

        # @param launch (see WorkerProcess#initialize)
        # @param memory (see WorkerProcess#initialize)
        # @param python [PyCall::Interpreter]
        # @param settings [Hash{Symbol => String, nil}] environment variables
        def initialize(launch, memory, python, settings)
          super(launch, memory)
          @python = python
          @settings = settings
          @exit, @worker_exit = IO.pipe
        end

        # @return [Integer]
        def pid = Process.pid

        # @yield never: it does not end before its socket is shut down
        def start
          @python.serve([@worker_socket, *@memory, @worker_exit], @settings)
          @started = true
        ensure
          close_worker_ends
        end

        # (see WorkerProcess#killable?)
        def killable? = false

        # Waits until it does not compute any more.
        # @param handshaken (see WorkerProcess#reap)
        # @return [ExitReport]
        def reap(handshaken:)
          close_worker_ends
          @exit.wait_readable(EXIT_TIMEOUT_S) if @started
          @exit.close
          exit_report(status: nil, output: "", handshaken:)
        end

        # (see WorkerProcess#abandon)
        def abandon = [@worker_socket, @exit, @worker_exit].each(&:close)

        private

        def close_worker_ends = [@worker_socket, @worker_exit].each(&:close)
      end
    end
  end
end
