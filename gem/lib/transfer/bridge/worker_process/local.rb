# frozen_string_literal: true

require "io/nonblock"

module Transfer
  module Bridge
    class WorkerProcess
      # A child process.
      class Local < WorkerProcess
        # Seconds to exit after the end of the socket, then after TERM, then after KILL.
        EXIT_TIMEOUTS_S = { nil => 2, "TERM" => 2, "KILL" => 2 }.freeze
        # Seconds until the last output arrives; a grandchild may hold the pipe open.
        OUTPUT_TIMEOUT_S = 0.5
        private_constant :OUTPUT_TIMEOUT_S

        # (see WorkerProcess#initialize)
        def initialize(launch, memory = [])
          super
          @output, @worker_output = IO.pipe
          # Ruby makes both non-blocking, also in the child, whose libraries don't expect a print to fail.
          [@worker_socket, @worker_output].each { |io| io.nonblock = false }
        end

        # (see WorkerProcess#start)
        def start(&notify)
          count_oom_kills
          @pid = spawn
          @waiter = Thread.new { wait(notify) }
          @waiter.name = "transfer-waiter-#{pid}"
          @tail = OutputTail.new(@output, "transfer-stderr-#{pid}", logger: @launch.logger)
        ensure
          close_worker_ends
        end

        # (see WorkerProcess#kill)
        def kill
          Process.kill(:KILL, pid) if pid && @waiter&.alive?
        rescue Errno::ESRCH
          nil
        end

        # (see WorkerProcess#reap)
        def reap(handshaken:)
          close_worker_ends
          unless @tail
            @output.close
            return
          end

          status = wait_or_kill
          @tail.finish(OUTPUT_TIMEOUT_S)
          exit_report(status:, output: @tail.text, handshaken:)
        end

        # (see WorkerProcess#abandon)
        def abandon = [@worker_socket, @output, @worker_output].each(&:close)

        private

        def spawn
          memory = @memory.any? ? ["--memory", @memory.map(&:fileno).join(",")] : []
          @launch.spawn("--fd", @worker_socket.fileno.to_s, *memory, output: @worker_output,
                                                                     inherited: [@worker_socket, *@memory])
        end

        def close_worker_ends = [@worker_socket, @worker_output].each(&:close)

        def wait(notify)
          Process.wait2(pid).last
        rescue Errno::ECHILD # other code has waited for it first
          nil
        ensure
          notify.call(:exited)
        end

        # @return [Process::Status, nil]
        def wait_or_kill
          EXIT_TIMEOUTS_S.each do |signal, seconds|
            Process.kill(signal, pid) if signal && @waiter.alive?
            break if @waiter.join(seconds)
          rescue Errno::ESRCH
            next
          end
          @waiter.value unless @waiter.alive?
        end

        # Reads the worker's output, so that it never blocks on a full pipe, and keeps the end for error messages.
        class OutputTail
          def initialize(io, thread_name, logger: nil)
            @io = io
            @logger = logger
            @tail = String.new(encoding: Encoding::BINARY)
            @thread = Thread.new { read }
            @thread.name = thread_name
          end

          # @return [String]
          def text = @tail.dup.force_encoding(Encoding::UTF_8).scrub

          # Reads the rest of the pipe. A grandchild may hold the other end open, hence the timeout.
          def finish(timeout)
            @thread.join(timeout) || @thread.kill.join
            @io.close
          end

          private

          def read
            loop do
              chunk = @io.readpartial(OUTPUT_BYTES)
              @tail = (@tail << chunk).byteslice(-OUTPUT_BYTES..) || @tail
              chunk.each_line { |line| @logger&.debug(Plain.printable(line.chomp)) }
            end
          rescue IOError # the end of the stream
            nil
          end
        end
        private_constant :OutputTail
      end
    end
  end
end
