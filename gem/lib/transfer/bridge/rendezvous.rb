# frozen_string_literal: true

require "digest"
require "socket"
require "tmpdir"

module Transfer
  module Bridge
    # Where the processes of one user find the worker that they share: a socket and a lock, in a folder that is theirs
    # alone. Who speaks another version, or wants another Python or home, meets elsewhere.
    class Rendezvous
      # What a socket's address holds on Linux, with the zero at its end.
      LONGEST_PATH = 108
      # A child that forks off while we hold the lock would hold it as well, for as long as it lives.
      NO_FORKS = Mutex.new
      private_constant :NO_FORKS

      # Yields while nobody holds a lock. In a signal's trap, which can't wait, just yields.
      def self.while_unlocked
        waited = begin
          NO_FORKS.lock
        rescue ThreadError
          nil
        end
        yield
      ensure
        waited&.unlock
      end

      # @return [String] what the worker is told; its socket and its lock begin with it
      attr_reader :path

      # @param folder [String, true] true: one in the folder for temporary files
      # @param wanted [Array] what all who meet agree on
      # @raise [ConfigurationError] if it is no place to meet
      def initialize(folder, *wanted)
        raise ConfigurationError, "shared_worker needs Linux" unless RUBY_PLATFORM.include?("linux")

        @folder = folder == true ? File.join(Dir.tmpdir, "transfer-#{Process.euid}") : File.expand_path(folder)
        @path = File.join(@folder, Digest::SHA256.hexdigest(wanted.inspect)[0, 16])
        check_length
        check_folder
      end

      # @return [Socket, nil] to the worker; nil if there is none
      # @raise [ConfigurationError] if it is somebody else's
      def connect
        socket = Socket.new(:UNIX, :STREAM)
        socket.connect_nonblock(Addrinfo.unix("#{path}.sock"))
        worker_of(socket)
        socket
      rescue Errno::ENOENT, Errno::ECONNREFUSED, Errno::EAGAIN # EAGAIN: too many wait to be accepted
        socket.close
        nil
      rescue ConfigurationError
        socket.close
        raise
      end

      # @return [Integer] the process at the other end
      def worker_of(socket)
        pid, user = socket.getsockopt(:SOCKET, :PEERCRED).unpack("iI")
        return pid if user == Process.euid && pid.positive?

        raise ConfigurationError, "#{path}.sock belongs to #{pid.zero? ? 'another container' : "user #{user}"}: set " \
                                  "Transfer.config.shared_worker to another folder"
      end

      # @yieldparam lock [File] whoever inherits it holds it as well, and for longer
      # @return what the block returns; nil if somebody holds it
      def lock
        NO_FORKS.synchronize do
          File.open("#{path}.lock", File::RDWR | File::CREAT | File::NOFOLLOW, 0o600) do |file|
            yield file if file.flock(File::LOCK_EX | File::LOCK_NB) && current?(file)
          end
        end
      end

      private

      # False for one that was deleted, by a worker at its end, between our opening and our locking it.
      def current?(file)
        [file.stat, File.stat(file.path)].map { |stat| [stat.dev, stat.ino] }.uniq.one?
      rescue Errno::ENOENT
        false
      end

      def check_length
        return if "#{path}.sock".bytesize < LONGEST_PATH

        raise ConfigurationError, "shared_worker: #{@folder} is too long for a socket's path, at most " \
                                  "#{LONGEST_PATH - 1 - "#{path}.sock".bytesize + @folder.bytesize} bytes are possible"
      end

      def check_folder
        make_folder
        stat = File.lstat(@folder)
        return if stat.directory? && stat.uid == Process.euid && stat.mode.nobits?(0o077)

        raise ConfigurationError, "shared_worker: #{@folder} is not a folder that only user #{Process.euid} can " \
                                  "enter: name another, or chmod 700 it"
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
