# frozen_string_literal: true

module Transfer
  module Bridge
    # Reads what a worker prints, so that it never blocks on a full pipe, and keeps the end for error messages.
    class Tail
      BYTES = 16 * 1024

      def initialize(io, name, logger: nil)
        @io = io
        @logger = logger
        @kept = String.new(encoding: Encoding::BINARY)
        @thread = Thread.new { read }
        @thread.name = name
      end

      # @return [String] the last 16 KiB
      def text = @kept.dup.force_encoding(Encoding::UTF_8).scrub

      # Takes what is still in the pipe. A grandchild may hold the other end open, hence the limit.
      def finish(limit)
        @thread.join(limit) || @thread.kill.join
        @io.close
      end

      private

      def read
        loop do
          chunk = @io.readpartial(BYTES)
          @kept = (@kept << chunk).byteslice(-BYTES..) || @kept
          chunk.each_line { |line| @logger&.debug(Plain.printable(line.chomp)) }
        end
      rescue IOError # the end of the stream
        nil
      end
    end
  end
end
