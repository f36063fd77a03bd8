# frozen_string_literal: true

require "io/nonblock"
require "socket"

module Transfer
  module Bridge
    # A worker's process, from before its start to after its end: the socket to it, what it prints, how it died.
    #
    # The thread that starts it must outlive it: the worker asks the kernel to be ended with that thread.
    class Child
      # Seconds to go by itself once its socket has ended, then after TERM, then after KILL.
      PATIENCE = { nil => 2, "TERM" => 2, "KILL" => 2 }.freeze
      # Seconds for what it printed last to arrive; a grandchild may hold the pipe open.
      LAST_WORDS_S = 0.5

      # @return [UNIXSocket] our end; it may be written to before the start
      attr_reader :socket
      # @return [Integer, nil] nil before the start
      attr_reader :pid

      # @param launch [Launch]
      # @param memory [Array<File>] what the process is to share with us
      def initialize(launch, memory = [])
        @launch = launch
        @memory = memory
        @socket, @its_socket = UNIXSocket.pair
        @output, @its_output = IO.pipe
        # Ruby makes both non-blocking, for the child, too: its libraries don't expect a print to fail.
        [@its_socket, @its_output].each { |io| io.nonblock = false }
      end

      # @yield in a thread of its own, when the process has ended
      # @raise [SystemCallError] if it can't be started
      def start(&ended)
        @kills_before = Memory.kills
        @pid = spawn
        @waiter = Thread.new { wait(ended) }
        @waiter.name = "transfer-waiter-#{pid}"
        @tail = Tail.new(@output, "transfer-stderr-#{pid}", logger: @launch.logger)
      ensure
        close_its_ends
      end

      # Ends it by force.
      def kill
        Process.kill(:KILL, pid) if pid && @waiter&.alive?
      rescue Errno::ESRCH
        nil
      end

      # Waits for the end of the process, which has lost its socket; ends it if it does not go by itself.
      # @param greeted [Boolean] whether it had answered the handshake
      # @return [Death, nil] nil if it was never started
      def bury(greeted:)
        close_its_ends
        unless @tail
          @output.close
          return
        end

        status = reap
        @tail.finish(LAST_WORDS_S)
        kills = @kills_before && Memory.kills&.>(@kills_before)
        Death.new(program: @launch.program, pid:, status:, stderr: @tail.text, greeted:, kills:)
      end

      # In a forked child: it is the parent's.
      def abandon = [@its_socket, @output, @its_output].each(&:close)

      private

      def spawn
        memory = @memory.any? ? ["--memory", @memory.map(&:fileno).join(",")] : []
        inherited = [@its_socket, *@memory]
        @launch.spawn("--fd", @its_socket.fileno.to_s, *memory, output: @its_output, inherited:)
      end

      def close_its_ends = [@its_socket, @its_output].each(&:close)

      def wait(ended)
        Process.wait2(pid).last
      rescue Errno::ECHILD # somebody else waited for it first
        nil
      ensure
        ended.call
      end

      # @return [Process::Status, nil]
      def reap
        PATIENCE.each do |signal, seconds|
          Process.kill(signal, pid) if signal && @waiter.alive?
          break if @waiter.join(seconds)
        rescue Errno::ESRCH
          next
        end
        @waiter.value unless @waiter.alive?
      end
    end
  end
end
