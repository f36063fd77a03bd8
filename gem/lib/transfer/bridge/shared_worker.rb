# frozen_string_literal: true

require "digest"
require "tmpdir"

module Transfer
  module Bridge
    # A worker for all processes of this user: the first process that needs it starts it, and it outlives that process.
    # See docs/reference/protocol.md, "A shared worker".
    module SharedWorker
      # Seconds to exit after TERM, then after KILL.
      EXIT_TIMEOUTS_S = { "TERM" => 5, "KILL" => 2 }.freeze
      POLL_S = 0.02
      # Seconds to respond to {snapshot}.
      SNAPSHOT_TIMEOUT_S = 5
      private_constant :EXIT_TIMEOUTS_S, :POLL_S, :SNAPSHOT_TIMEOUT_S

      class << self
        # @return [LaunchOptions]
        # @raise [ConfigurationError] if no worker can be shared here
        def launch_options(config = Transfer.config)
          worker = worker_options(config)
          endpoint = endpoint(worker, config)
          worker.with(limits: LaunchOptions::Limits.new(idle_stop: config.idle_stop),
                      process: lambda { |_, memory, &given_up|
                        WorkerProcess::Shared.new(worker, memory, endpoint, &given_up)
                      })
        end

        # Statistics of the worker; does not start one.
        # @return [Hash{Symbol => Object}, nil] `pid`, `memory` (bytes), `serving`, and `seconds` of an empty call; nil
        #   if there is no worker
        # @raise [TimeoutError] if it does not respond
        def snapshot
          return unless find { true }

          worker = Pool::Worker.new { launch_options.with(startup_timeout: SNAPSHOT_TIMEOUT_S) }
          serving = Pool.serving_statistics(worker.call(Dispatcher::SERVING, {}).value(SNAPSHOT_TIMEOUT_S))
          started = now
          worker.call(Dispatcher::PING, {}).value(SNAPSHOT_TIMEOUT_S)
          seconds = now - started
          pid = worker.pid or return
          { pid:, memory: WorkerProcess.resident_memory(pid), serving:, seconds: }
        ensure
          worker&.stop
        end

        # Ends the worker for all clients, and waits for its end.
        # @return [Integer, nil] its pid
        def stop
          find do |pid|
            EXIT_TIMEOUTS_S.each { |signal, seconds| break if exited?(signal, pid, seconds) }
            pid
          end
        end

        private

        # @yieldparam pid [Integer] of the worker, if there is one
        # @return the result of the block
        def find(config = Transfer.config)
          endpoint = endpoint(worker_options(config), config)
          control = endpoint.connect or return
          yield endpoint.peer_pid(control)
        ensure
          control&.close
        end

        # The worker runs in another folder, where a relative path would be a different one.
        def worker_options(config)
          local = LaunchOptions.configured(config)
          local.with(env: { **local.env, "TRANSFER_HOME" => Python.home })
        end

        # Includes the limits on inputs: another process must not raise them for this one.
        def endpoint(launch, config)
          limits = Configuration::LIMITS.map { |name| "TRANSFER_#{name.upcase}" }
          Endpoint.new(config.shared_worker || true, VERSION, Handshake::PROTOCOL, launch.command,
                       launch.env.values_at("TRANSFER_HOME", "TRANSFER_OFFLINE", "PYTHONPATH", *limits))
        end

        # Sends the signal.
        # @return [Boolean] true if the process ended in time
        def exited?(signal, pid, seconds)
          Process.kill(signal, pid)
          deadline = now + seconds
          sleep POLL_S until (ended = ended?(pid)) || now > deadline
          ended
        rescue Errno::ESRCH
          true
        end

        # A zombie has no memory.
        def ended?(pid) = [nil, 0].include?(WorkerProcess.resident_memory(pid))

        def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      # Where the clients of a shared worker find it: a socket and a lock, in a folder that only its user can enter. The
      # names depend on everything that the clients must have in common.
      class Endpoint
        # Size of a socket address on Linux, including the terminating zero.
        ADDRESS_BYTES = 108
        # A child that is forked while the lock is held would inherit it, and hold it for its whole life.
        FORK_MUTEX = Mutex.new
        private_constant :ADDRESS_BYTES, :FORK_MUTEX

        # Yields while no thread holds the lock. A signal's trap can't wait; it yields immediately.
        def self.while_unlocked
          locked = begin
            FORK_MUTEX.lock
          rescue ThreadError
            nil
          end
          yield
        ensure
          locked&.unlock
        end

        # @return [String] path of socket and lock, without extension
        attr_reader :path

        # @param folder [String, true] true: a folder in the one for temporary files
        # @param key [Array] what the clients must have in common
        # @raise [ConfigurationError] if the folder can't be used
        def initialize(folder, *key)
          raise ConfigurationError, "shared_worker needs Linux" unless RUBY_PLATFORM.include?("linux")

          @folder = folder == true ? File.join(Dir.tmpdir, "transfer-#{Process.euid}") : File.expand_path(folder)
          @path = File.join(@folder, Digest::SHA256.hexdigest(key.inspect)[0, 16])
          check_length
          check_folder
        end

        # @return [Socket, nil] nil if there is no worker
        # @raise [ConfigurationError] if the worker belongs to another user
        def connect
          socket = Socket.new(:UNIX, :STREAM)
          socket.connect_nonblock(Addrinfo.unix("#{path}.sock"))
          peer_pid(socket)
          socket
        rescue Errno::ENOENT, Errno::ECONNREFUSED, Errno::EAGAIN # EAGAIN: the queue of connections is full
          socket.close
          nil
        rescue ConfigurationError
          socket.close
          raise
        end

        # @return [Integer] pid of the process at the other end
        # @raise [ConfigurationError] if it belongs to another user
        def peer_pid(socket)
          pid, user = socket.getsockopt(:SOCKET, :PEERCRED).unpack("iI")
          return pid if user == Process.euid && pid.positive?

          owner = pid.zero? ? "another container" : "user #{user}"
          raise ConfigurationError, "#{path}.sock belongs to #{owner}. Fix: set Transfer.config.shared_worker to " \
                                    "another folder"
        end

        # @yieldparam lock [File] a process that inherits it holds the lock, too, and longer
        # @return the result of the block; nil if another process holds the lock
        def lock
          FORK_MUTEX.synchronize do
            File.open("#{path}.lock", File::RDWR | File::CREAT | File::NOFOLLOW, 0o600) do |file|
              yield file if file.flock(File::LOCK_EX | File::LOCK_NB) && current?(file)
            end
          end
        end

        private

        # False if a worker at its end has deleted the file between our opening and locking it.
        def current?(file)
          [file.stat, File.stat(file.path)].map { |stat| [stat.dev, stat.ino] }.uniq.one?
        rescue Errno::ENOENT
          false
        end

        def check_length
          return if "#{path}.sock".bytesize < ADDRESS_BYTES

          longest = ADDRESS_BYTES - 1 - "#{path}.sock".bytesize + @folder.bytesize
          raise ConfigurationError, "shared_worker: #{@folder} is too long for a socket's path, at most #{longest} " \
                                    "bytes are possible"
        end

        def check_folder
          make_folder
          stat = File.lstat(@folder)
          return if stat.directory? && stat.uid == Process.euid && stat.mode.nobits?(0o077)

          raise ConfigurationError, "shared_worker: #{@folder} is not a folder that only user #{Process.euid} can " \
                                    "enter. Fix: name another, or chmod 700 it"
        rescue SystemCallError => error
          raise ConfigurationError, "shared_worker: can't use #{@folder}: #{error.message}"
        end

        def make_folder
          Dir.mkdir(@folder, 0o700)
        rescue Errno::EEXIST
          nil
        end
      end
    end
  end
end
