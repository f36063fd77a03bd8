# frozen_string_literal: true

module Transfer
  module Bridge
    # The worker's process: started, waited for, and ended if it does not end by itself.
    #
    # The thread that starts it must outlive it: the worker asks the kernel to be ended with that thread.
    class Child
      # Seconds to go by itself once its socket has ended, then after TERM, then after KILL.
      PATIENCE = { nil => 2, "TERM" => 2, "KILL" => 2 }.freeze

      attr_reader :pid

      # @param socket [UNIXSocket] the worker's end
      # @param output [IO] where standard output and standard error go
      # @yield in a thread of its own, when the process has ended
      # @raise [SystemCallError] if it can't be started
      def initialize(launch, socket, output, &ended)
        program, *arguments = launch.command
        @pid = Process.spawn(
          launch.env, [program, program], *arguments, "--fd", socket.fileno.to_s,
          in: File::NULL, out: output, err: output, socket => socket, close_others: true
        )
        @waiter = Thread.new { wait(ended) }
        @waiter.name = "transfer-waiter-#{pid}"
      end

      # @return [Process::Status, nil] nil if somebody else waited for the process first
      def reap
        PATIENCE.each do |signal, seconds|
          Process.kill(signal, pid) if signal && @waiter.alive?
          break if @waiter.join(seconds)
        rescue Errno::ESRCH
          next
        end
        @waiter.value unless @waiter.alive?
      end

      private

      def wait(ended)
        Process.wait2(pid).last
      rescue Errno::ECHILD
        nil
      ensure
        ended.call
      end
    end
  end
end
