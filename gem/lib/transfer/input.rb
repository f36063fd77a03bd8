# frozen_string_literal: true

module Transfer
  # One image as the wire carries it: the path of a file (text) or the bytes of an encoded image (binary).
  module Input
    # The first bytes of JPEG and PNG: no path begins like them. The other formats are known by a NUL byte.
    MAGIC = ["\xFF\xD8\xFF".b, "\x89PNG".b].freeze
    private_constant :MAGIC

    # What one message may weigh, well below the 64 MiB of a frame.
    BATCH_BYTES = 16 * 1024 * 1024
    # How many inputs one message carries at most.
    BATCH_SIZE = 256

    class << self
      # @param value [String, Pathname, IO, StringIO] a path, the bytes of an image, or something to read them from
      # @return [String] an absolute path, or binary
      # @raise [ArgumentError] for anything else
      def wire(value)
        case value
        when String then bytes?(value) ? value.b : path(value)
        when Pathname then path(value.to_s)
        else
          return value.read.b if value.respond_to?(:read)

          raise ArgumentError, "an input is a path, an IO or the bytes of an image, got #{value.class}"
        end
      end

      # Inputs in lists small enough for one message each; an IO is read when its turn comes.
      # @return [Enumerator::Lazy<Array<String>>]
      def batches(values)
        size = count = 0
        values.lazy.map { |value| wire(value) }.slice_when do |before, after|
          size += before.bytesize
          count += 1
          full = count == BATCH_SIZE || size + after.bytesize > BATCH_BYTES
          size = count = 0 if full
          full
        end
      end

      # The worker keeps the folder it was started in; a relative path is meant from here.
      def path(text)
        text.start_with?("~/") ? File.expand_path(text) : File.absolute_path(text)
      end

      private

      def bytes?(text)
        text.encoding == Encoding::BINARY || text.include?("\0") || text.b.start_with?(*MAGIC)
      end
    end
  end
  private_constant :Input
end
