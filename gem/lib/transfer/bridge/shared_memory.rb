# frozen_string_literal: true

module Transfer
  module Bridge
    # What one worker and we show each other besides the socket: a file per direction, for tensors that are too big.
    class SharedMemory
      # Below this the socket is as fast (benchmarks/numbers.rb).
      LARGEST_INLINE = 256 * 1024

      # @return [Array<File>] for the worker to inherit: the one it reads, the one it writes
      attr_reader :files

      def initialize
        @files = [Arena.file, Arena.file]
        @outgoing = Arena.new(@files.first)
      end

      # @param params [Hash] of a request
      # @yieldparam lent [Hash] the same, with blocks for its big tensors
      # @yieldreturn [Object, nil] nil or false if the request was not sent: then the blocks are free again
      # @raise [OutOfMemory]
      def lend(params, &)
        return yield params unless params.each_value.any? { |value| big?(value) }

        # An interrupt must not come between the sending and the knowing of it.
        Thread.handle_interrupt(Object => :never) { lend_blocks(params, &) }
      end

      # @param message [Message::Request, Message::Response, Message::Notification]
      # @return the same, with a tensor where a block was
      # @raise [ProtocolError] if there is no such block
      def receive(message)
        return message unless message.is_a?(Message::Response) && message.result.is_a?(TensorBlock)

        message.with(result: take(message.result))
      end

      # The worker is gone; tensors that lie in its memory stay.
      def close = files.each(&:close)

      private

      def big?(value) = value.is_a?(Tensor) && value.bytesize > LARGEST_INLINE

      def lend_blocks(params)
        blocks = []
        lent = params.transform_values { |value| big?(value) ? block(value).tap { |block| blocks << block } : value }
        sent = yield lent
      ensure
        blocks.each { |block| @outgoing.free(block.offset) } unless sent
      end

      def block(tensor)
        TensorBlock.new(dtype: tensor.dtype, shape: tensor.shape, offset: @outgoing.write(tensor.bytes))
      end

      # At once, whether or not somebody still waits for it: so no block is ever left to nobody.
      def take(block)
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
    end
  end
end
