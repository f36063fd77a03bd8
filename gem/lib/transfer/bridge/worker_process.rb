# frozen_string_literal: true

require "etc"
require "socket"

module Transfer
  module Bridge
    # A worker from before its start to after its end: the socket to it, its output, its exit. One interface for three
    # kinds: {Local} is a child process, {Shared} a process that several clients use, {Embedded} Python in this process.
    #
    # The thread that starts a worker must outlive it: a local one asks the kernel to be killed with that thread.
    class WorkerProcess
      # Bytes of the worker's output that are kept for error messages.
      OUTPUT_BYTES = 16 * 1024
      PAGE_BYTES = Etc.sysconf(Etc::SC_PAGESIZE)
      private_constant :OUTPUT_BYTES, :PAGE_BYTES

      class << self
        # @return [Integer, nil] resident memory of a process in bytes, nil if there is no such process
        def resident_memory(pid)
          Integer(File.read("/proc/#{pid}/statm").split[1]) * PAGE_BYTES
        rescue Errno::ESRCH
          nil
        rescue SystemCallError
          resident_memory_without_proc(pid)
        end

        # @return [Integer, nil] processes of this control group that the kernel has killed for lack of memory so far
        def oom_kills
          folder = File.read("/proc/self/cgroup")[/^0::(.+)$/, 1] or return
          File.read(File.join("/sys/fs/cgroup", folder, "memory.events"))[/^oom_kill (\d+)$/, 1]&.to_i
        rescue SystemCallError
          nil
        end

        private

        def resident_memory_without_proc(pid)
          return if File.directory?("/proc/self") # the process has ended

          kibibytes = IO.popen(["ps", "-o", "rss=", "-p", pid.to_s], &:read)
          kibibytes.strip.empty? ? nil : Integer(kibibytes) * 1024
        end
      end

      # @return [UNIXSocket] our end; may be written to before the start
      attr_reader :socket
      # @return [Integer, nil] nil before the start
      attr_reader :pid

      # @param launch [LaunchOptions]
      # @param memory [Array<File>] files of shared memory for the worker
      def initialize(launch, memory = [])
        @launch = launch
        @memory = memory
        @socket, @worker_socket = UNIXSocket.pair
      end

      # Starts the worker, or connects to it.
      # @yieldparam event [Symbol] from another thread: `:retiring` if the worker accepts no more calls, `:exited` when
      #   it has ended
      # @raise [ConfigurationError, SystemCallError]
      def start(&) = raise(NotImplementedError)

      # @return [Boolean] whether {#kill} can end the worker
      def killable? = true

      # Sends SIGKILL.
      def kill = raise(NotImplementedError)

      # Waits for the end of the worker, whose socket was shut down; kills a local one that does not exit.
      # @param handshaken [Boolean] whether it had completed the handshake
      # @return [ExitReport, nil] nil if it was never started
      def reap(handshaken:) = raise(NotImplementedError)

      # In a forked child: closes the copies of the parent's descriptors.
      def abandon = raise(NotImplementedError)

      private

      def count_oom_kills = @oom_kills_before = WorkerProcess.oom_kills

      def exit_report(status:, output:, handshaken:)
        oom_kill = @oom_kills_before && WorkerProcess.oom_kills&.>(@oom_kills_before)
        ExitReport.new(program: @launch.program, pid:, status:, output:, handshaken:, oom_kill:)
      end
    end
  end
end

require_relative "worker_process/local"
require_relative "worker_process/shared"
