# frozen_string_literal: true

require "securerandom"
require "tmpdir"

module Transfer
  module Bridge
    # Blocks of a file that the other side reads and then frees: docs/reference/protocol.md, "Shared memory".
    #
    # What is written goes through write(2): a full disk is an exception and not a signal.
    class Arena
      HEADER_BYTES = 64
      ALIGNMENT = 64 * 1024
      # The system reads and writes at most 2 GiB at once.
      AT_ONCE = 2**30

      # @return [File] readable, writable, known to this process and whoever inherits it, without a name
      def self.file
        descriptor = Native.anonymous_file if Transfer.native?
        descriptor ? File.for_fd(descriptor, File::RDWR | File::BINARY) : unnamed_file
      end

      # @param flags [Integer] besides those with which nobody else can have it
      # @return [File] the same on a disk
      def self.unnamed_file(flags = 0)
        path = File.join(Dir.tmpdir, "transfer-#{SecureRandom.hex(16)}")
        flags |= File::RDWR | File::CREAT | File::EXCL | File::NOFOLLOW | File::BINARY
        File.open(path, flags, 0o600).tap { File.unlink(path) }
      end

      # How many bytes of a block are in use.
      # @return [Integer, nil] nil if the file ends before it
      def self.used(file, offset)
        file.pread(8, offset).unpack1("Q<")
      rescue EOFError
        nil
      end

      # @return [String] the content of a block
      # @raise [EOFError] if the file became shorter
      def self.read(file, offset, bytes)
        parts = (0...bytes).step(AT_ONCE).map do |i|
          file.pread([AT_ONCE, bytes - i].min, offset + HEADER_BYTES + i)
        end
        parts.one? ? parts.first : parts.join
      end

      def self.mark(file, offset, bytes) = file.pwrite([bytes].pack("Q<"), offset)

      # @param file [File]
      def initialize(file)
        @file = file
        @mutex = Mutex.new
        @blocks = [] # [offset, size], without gaps, in the order of the file
      end

      # @param bytes [String]
      # @return [Integer] the offset of the block
      # @raise [OutOfMemory] if the system has no room for it
      def write(bytes)
        offset = reserve(bytes.bytesize)
        written = 0
        until written == bytes.bytesize
          written += @file.pwrite(bytes.byteslice(written, AT_ONCE), offset + HEADER_BYTES + written)
        end
        offset
      rescue SystemCallError => error
        free(offset) if offset
        raise OutOfMemory, "no room to share #{bytes.bytesize} bytes with the worker: #{error.message}"
      end

      # Takes a block back that the other side does not know of.
      def free(offset) = Arena.mark(@file, offset, 0)

      private

      def reserve(bytes)
        size = (HEADER_BYTES + bytes).ceildiv(ALIGNMENT) * ALIGNMENT
        @mutex.synchronize do
          @blocks = merged
          index = smallest_free(size)
          offset, room = @blocks[index]
          @file.truncate(offset + size) if room < size # it is the last
          @blocks[index, 1] = [[offset, size], ([offset + size, room - size] if room > size)].compact
          Arena.mark(@file, offset + size, 0) if room > size # there may be what lay in a larger block
          Arena.mark(@file, offset, bytes)
          offset
        end
      end

      # The smallest free block that has room, else the last one, which can grow.
      def smallest_free(size)
        fitting = @blocks.each_index.select { |i| @blocks[i].last >= size && free?(@blocks[i]) }
        return fitting.min_by { |i| @blocks[i].last } unless fitting.empty?

        @blocks << [@blocks.last&.sum || 0, 0] unless @blocks.any? && free?(@blocks.last)
        @blocks.size - 1
      end

      def merged
        @blocks.chunk_while { |before, after| free?(before) && free?(after) }
               .map { |neighbours| [neighbours.first.first, neighbours.sum(&:last)] }
      end

      def free?((offset, _size)) = [nil, 0].include?(Arena.used(@file, offset))
    end
  end
end
