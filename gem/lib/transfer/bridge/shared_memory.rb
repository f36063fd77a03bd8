# frozen_string_literal: true

require "securerandom"
require "tmpdir"

module Transfer
  module Bridge
    # Memory that one worker shares with this process: a file per direction, for large tensors. See
    # docs/reference/protocol.md, "Shared memory".
    class SharedMemory
      # Below this size the socket is as fast (benchmarks/numbers.rb).
      MAX_INLINE_BYTES = 256 * 1024
      private_constant :MAX_INLINE_BYTES

      # @return [Array<File>] for the worker to inherit: the one it reads, the one it writes
      attr_reader :files

      def initialize
        @files = [Arena.file, Arena.file]
        @outgoing = Arena.new(@files.first)
      end

      # @param params [Hash] of a request
      # @yieldparam shared [Hash] the same, with blocks in place of large tensors
      # @yieldreturn [Object, nil] nil or false if the request was not sent: then the blocks are freed
      # @raise [OutOfMemory]
      def share(params, &)
        return yield params unless params.each_value.any? { |value| large?(value) }

        # An interrupt must not come between sending the request and noting that.
        Thread.handle_interrupt(Object => :never) { share_blocks(params, &) }
      end

      # @param message [Message::Request, Message::Response, Message::Notification]
      # @return the same, with a tensor in place of a block
      # @raise [ProtocolError] if there is no such block
      def receive(message)
        return message unless message.is_a?(Message::Response) && message.result.is_a?(TensorBlock)

        message.with(result: tensor(message.result))
      end

      # The worker has ended; tensors in its memory stay valid.
      def close = files.each(&:close)

      private

      def large?(value) = value.is_a?(Tensor) && value.bytesize > MAX_INLINE_BYTES

      def share_blocks(params)
        blocks = []
        sent = yield(params.transform_values { |value| large?(value) ? blocks.push(block(value)).last : value })
      ensure
        blocks.each { |block| @outgoing.free(block.offset) } unless sent
      end

      def block(tensor)
        TensorBlock.new(dtype: tensor.dtype, shape: tensor.shape, offset: @outgoing.write(tensor.bytes))
      end

      # Immediately, whether or not a caller still waits for it: no block is left without an owner.
      def tensor(block)
        bytes = block.shape.inject(Numbers::ITEM_BYTES[block.dtype], :*)
        check(block.offset, bytes)
        memory = (Native.map(files.last, block.offset, bytes) if Transfer.native?) || copy(block.offset, bytes)
        Tensor.new(dtype: block.dtype, shape: block.shape, bytes: memory)
      end

      def check(offset, bytes)
        if offset + Arena::HEADER_BYTES + bytes > files.last.size
          raise ProtocolError, "a block of #{bytes} bytes at #{offset} ends beyond its file"
        end

        used = Arena.used(files.last, offset)
        raise ProtocolError, "the block at #{offset} holds #{used} bytes, expected #{bytes}" unless used == bytes
      end

      def copy(offset, bytes)
        Arena.read(files.last, offset, bytes).tap { Arena.mark(files.last, offset, 0) }
      end

      # Allocates blocks of a file, which the other side reads and then frees.
      #
      # Content is written by write(2): a full disk is an exception and not a signal.
      class Arena
        HEADER_BYTES = 64
        ALIGNMENT = 64 * 1024
        # The system reads and writes at most 2 GiB in one call.
        CHUNK_BYTES = 2**30
        private_constant :ALIGNMENT, :CHUNK_BYTES

        class << self
          # @return [File] readable and writable, without a name: only this process and its children can have it
          def file
            descriptor = Native.anonymous_file if Transfer.native?
            descriptor ? File.for_fd(descriptor, File::RDWR | File::BINARY) : unnamed_file
          end

          # @param flags [Integer] additional flags
          # @return [File] the same on a disk
          def unnamed_file(flags = 0)
            path = File.join(Dir.tmpdir, "transfer-#{SecureRandom.hex(16)}")
            flags |= File::RDWR | File::CREAT | File::EXCL | File::NOFOLLOW | File::BINARY
            File.open(path, flags, 0o600).tap { File.unlink(path) }
          end

          # @return [Integer, nil] number of bytes of a block in use; nil if the file ends before it
          def used(file, offset)
            file.pread(8, offset).unpack1("Q<")
          rescue EOFError
            nil
          end

          # @return [String] the content of a block
          # @raise [EOFError] if the file was truncated
          def read(file, offset, bytes)
            chunks = (0...bytes).step(CHUNK_BYTES).map do |i|
              file.pread([CHUNK_BYTES, bytes - i].min, offset + HEADER_BYTES + i)
            end
            chunks.one? ? chunks.first : chunks.join
          end

          # Sets the number of bytes of a block in use; 0 frees it.
          def mark(file, offset, bytes) = file.pwrite([bytes].pack("Q<"), offset)
        end

        # @param file [File]
        def initialize(file)
          @file = file
          @mutex = Mutex.new
          @blocks = [] # [offset, size], without gaps, in the order of the file
        end

        # @param bytes [String]
        # @return [Integer] the offset of the block
        # @raise [OutOfMemory] if the system has no space for it
        def write(bytes)
          offset = reserve(bytes.bytesize)
          written = 0
          until written == bytes.bytesize
            written += @file.pwrite(bytes.byteslice(written, CHUNK_BYTES), offset + HEADER_BYTES + written)
          end
          offset
        rescue SystemCallError => error
          free(offset) if offset
          raise OutOfMemory, "no room to share #{bytes.bytesize} bytes with the worker: #{error.message}"
        end

        # Frees a block that the other side has not received.
        def free(offset) = Arena.mark(@file, offset, 0)

        private

        def reserve(bytes)
          size = (HEADER_BYTES + bytes).ceildiv(ALIGNMENT) * ALIGNMENT
          @mutex.synchronize do
            @blocks = merged
            index = best_fit(size)
            offset, available = @blocks[index]
            @file.truncate(offset + size) if available < size # it is the last block
            rest = [offset + size, available - size] if available > size
            @blocks[index, 1] = [[offset, size], rest].compact
            Arena.mark(@file, offset + size, 0) if rest # there may be content of a former, larger block
            Arena.mark(@file, offset, bytes)
            offset
          end
        end

        # @return [Integer] index of the smallest free block of that size, or of the last block, which can grow
        def best_fit(size)
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
end
