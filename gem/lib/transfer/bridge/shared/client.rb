# frozen_string_literal: true

require "socket"

module Transfer
  module Bridge
    module Shared
      # What {Child} is for a process of our own: we are one of those who use it.
      class Client
        # Seconds until we look again whether the worker that somebody starts is there.
        LOOK_AGAIN_S = 0.02
        OPTIONS = { idle_stop: "--idle", max_lifetime: "--lifetime", max_requests: "--calls",
                    max_memory: "--memory" }.freeze
        # It may be told to end before we have met.
        MOST_STARTS = 3
        INTRODUCTION = "+"
        private_constant :LOOK_AGAIN_S, :OPTIONS, :MOST_STARTS, :INTRODUCTION

        # @return [UNIXSocket] our end; it may be written to before the start
        attr_reader :socket
        # @return [Integer, nil] nil before we have met
        attr_reader :pid

        # @param launch [Launch] how to start it, and how long it is kept
        # @param memory [Array<File>] what it is to share with us
        # @param place [Rendezvous]
        # @yieldreturn [Boolean] true if nobody waits for the start any more
        def initialize(launch, memory, place, &given_up)
          @launch = launch
          @memory = memory
          @place = place
          @given_up = given_up
          @socket, @its_socket = UNIXSocket.pair
          @starts = 0
        end

        # Finds the worker, or starts it.
        # @yield in a thread of its own: with true when it takes no more calls, with false when it has gone
        # @raise [ConfigurationError, SystemCallError]
        def start(&told)
          @kills_before = Memory.kills
          until meet
            return told.call(false) if @given_up.call || (start_worker == :died)

            sleep LOOK_AGAIN_S
          end
          @waiter = Thread.new { wait(told) }
          @waiter.name = "transfer-waiter-#{pid}"
        ensure
          @its_socket.close
        end

        # Ends it by force, whoever uses it; also if it has not taken us.
        def kill
          Process.kill(:KILL, @found) if @found
        rescue Errno::ESRCH
          nil
        end

        # Leaves it.
        # @param greeted [Boolean] whether it had answered the handshake
        # @return [Death] in case that it has gone
        def bury(greeted:)
          @its_socket.close
          leave if @line
          kills = @kills_before && Memory.kills&.>(@kills_before)
          Death.new(program: @launch.program, pid: pid || @starter&.pid, status: failure, stderr: last_words, greeted:,
                    kills:)
        ensure
          @output&.close
        end

        # In a forked child: it is the parent's.
        def abandon = [@its_socket, @line, @output].compact.each(&:close)

        private

        # @return [Boolean] false if there is no worker, or if it went without having taken us
        def meet
          line = @place.connect or return false
          @found = @place.worker_of(line)
          line.sendmsg(INTRODUCTION, 0, nil, Socket::AncillaryData.unix_rights(@its_socket, *@memory))
          output = answer(line)
          return false.tap { line.close } unless output

          @output&.close
          @output = output
          @pid = @found
          @line = line
          true
        rescue Errno::EPIPE, Errno::ECONNRESET
          line.close
          false
        end

        # @return [IO, nil] what it prints to
        def answer(line)
          came = line.wait_readable(LOOK_AGAIN_S) until came || @given_up.call
          return unless came

          _, _, _, rights = line.recvmsg(INTRODUCTION.bytesize, scm_rights: true)
          rights&.unix_rights&.first
        end

        # @return [Symbol, nil] :died if that failed before
        def start_worker
          @place.lock do |lock|
            next :died if failure || @starts == MOST_STARTS

            @starts += 1
            @output&.close
            @output = Arena.unnamed_file(File::APPEND)
            place = ["--listen", @place.path, "--lock", lock.fileno.to_s]
            @starter = Process.detach(@launch.spawn(*place, *limits, output: @output, inherited: [lock]))
            nil
          end
        end

        def limits = @launch.limits.to_h.compact.flat_map { |name, limit| [OPTIONS.fetch(name), limit.to_s] }

        def wait(told)
          told.call(true) unless @line.recv(INTRODUCTION.bytesize).to_s.empty?
          @line.recv(INTRODUCTION.bytesize)
        rescue Errno::ECONNRESET
          nil
        ensure
          told.call(false)
        end

        def leave
          @line.shutdown
        rescue Errno::ENOTCONN # it was faster
          nil
        ensure
          @waiter&.join
          @line.close
        end

        # Of the process that started the worker, which ends well if that begins.
        # @return [Process::Status, nil] nil also where somebody else has waited for it first
        def failure
          status = @starter&.value unless @starter&.alive?
          status unless status&.success?
        end

        def last_words
          return "" unless @output

          size = @output.stat.size
          kept = [size, Tail::BYTES].min
          kept.zero? ? "" : @output.pread(kept, size - kept).force_encoding(Encoding::UTF_8).scrub
        rescue EOFError # it was cut meanwhile
          ""
        end
      end
    end
  end
end
