# frozen_string_literal: true

module Transfer
  module Bridge
    class WorkerProcess
      # A process that several clients use ({SharedWorker}), of which this is one. The first client starts it.
      class Shared < WorkerProcess
        # Seconds between attempts to connect to a worker that another client starts.
        RETRY_S = 0.02
        OPTIONS = { idle_stop: "--idle", max_lifetime: "--lifetime", max_requests: "--calls",
                    max_memory: "--memory" }.freeze
        # A starting worker may receive a stop request before it accepts this connection.
        MAX_STARTS = 3
        # The byte that goes with the passed descriptors.
        HELLO = "+"
        private_constant :RETRY_S, :OPTIONS, :MAX_STARTS, :HELLO

        # @param launch [LaunchOptions] for starting it
        # @param memory [Array<File>] files of shared memory for the worker
        # @param endpoint [SharedWorker::Endpoint]
        # @yieldreturn [Boolean] true if the start is not needed any more
        def initialize(launch, memory, endpoint, &given_up)
          super(launch, memory)
          @endpoint = endpoint
          @given_up = given_up
          @starts = 0
        end

        # (see WorkerProcess#start)
        def start(&notify)
          count_oom_kills
          until connect
            return notify.call(:exited) if @given_up.call || (start_worker == :failed)

            sleep RETRY_S
          end
          @waiter = Thread.new { wait(notify) }
          @waiter.name = "transfer-waiter-#{pid}"
        ensure
          @worker_socket.close
        end

        # Kills it for all clients, even if it has not accepted this one.
        def kill
          Process.kill(:KILL, @peer) if @peer
        rescue Errno::ESRCH
          nil
        end

        # Disconnects.
        # @param handshaken (see WorkerProcess#reap)
        # @return [ExitReport] valid if the worker has exited
        def reap(handshaken:)
          @worker_socket.close
          disconnect if @control
          exit_report(status: start_failure, output: last_output, handshaken:)
        ensure
          @output&.close
        end

        # (see WorkerProcess#abandon)
        def abandon = [@worker_socket, @control, @output].compact.each(&:close)

        private

        # @return [Boolean] false if there is no worker, or if it ended without accepting us
        def connect
          control = @endpoint.connect or return false
          @peer = @endpoint.peer_pid(control)
          control.sendmsg(HELLO, 0, nil, Socket::AncillaryData.unix_rights(@worker_socket, *@memory))
          output = accepted(control)
          return false.tap { control.close } unless output

          @output&.close
          @output = output
          @pid = @peer
          @control = control
          true
        rescue Errno::EPIPE, Errno::ECONNRESET
          control.close
          false
        end

        # @return [IO, nil] the file that the worker prints to; nil if it has not accepted us
        def accepted(control)
          readable = control.wait_readable(RETRY_S) until readable || @given_up.call
          return unless readable

          _, _, _, rights = control.recvmsg(HELLO.bytesize, scm_rights: true)
          rights&.unix_rights&.first
        end

        # @return [Symbol, nil] :failed after a failed start
        def start_worker
          @endpoint.lock do |lock|
            next :failed if start_failure || @starts == MAX_STARTS

            @starts += 1
            @output&.close
            @output = SharedMemory::Arena.unnamed_file(File::APPEND)
            listen = ["--listen", @endpoint.path, "--lock", lock.fileno.to_s]
            @starter = Process.detach(@launch.spawn(*listen, *limits, output: @output, inherited: [lock]))
            nil
          end
        end

        def limits = @launch.limits.to_h.compact.flat_map { |name, limit| [OPTIONS.fetch(name), limit.to_s] }

        def wait(notify)
          notify.call(:retiring) unless @control.recv(HELLO.bytesize).to_s.empty?
          @control.recv(HELLO.bytesize)
        rescue Errno::ECONNRESET
          nil
        ensure
          notify.call(:exited)
        end

        def disconnect
          @control.shutdown
        rescue Errno::ENOTCONN # the worker was faster
          nil
        ensure
          @waiter&.join
          @control.close
        end

        # The process that started the worker exits with 0 once that runs.
        # @return [Process::Status, nil] nil also if other code has waited for it first
        def start_failure
          status = @starter&.value unless @starter&.alive?
          status unless status&.success?
        end

        def last_output
          return "" unless @output

          size = @output.stat.size
          kept = [size, OUTPUT_BYTES].min
          kept.zero? ? "" : @output.pread(kept, size - kept).force_encoding(Encoding::UTF_8).scrub
        rescue EOFError # it was truncated meanwhile
          ""
        end

        # The starter's until the worker has accepted us.
        def exit_report(**) = super.with(pid: pid || @starter&.pid)
      end
    end
  end
end
