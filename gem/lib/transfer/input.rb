# frozen_string_literal: true

module Transfer
  # One image as the wire carries it: the path of a file (text) or the bytes of an encoded image (binary).
  module Input
    # The first bytes of JPEG and PNG: no path begins like them. The other formats are known by a NUL byte.
    MAGIC = ["\xFF\xD8\xFF".b, "\x89PNG".b].freeze
    INPUTS = "an input is a path, an IO or the bytes of an image"
    private_constant :MAGIC, :INPUTS

    # What one message may weigh, well below the 64 MiB of a frame.
    BATCH_BYTES = 16 * 1024 * 1024
    # What one image may weigh.
    MAX_BYTES = 60 * 1024 * 1024
    # How many inputs one message carries at most.
    BATCH_SIZE = 256

    class << self
      # @param value [String, Pathname, IO, StringIO] a path, the bytes of an image, or something to read them from
      # @return [String] an absolute path, or binary
      # @raise [ArgumentError] for anything else
      # @raise [DataError] if the path can't be one, or the bytes are too many to be sent
      def wire(value)
        case value
        when String then bytes?(value) ? sendable(value.b) : path(value)
        when Pathname then path(value.to_s)
        else
          raise ArgumentError, "#{INPUTS}, got #{value.class}" unless value.respond_to?(:read)

          bytes = value.read
          raise ArgumentError, "#{INPUTS}; reading gave #{bytes.class}" unless bytes.is_a?(String)

          sendable(bytes.b)
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
      # @raise [DataError] for text that can't be a path
      def path(text)
        raise DataError, "an empty path, expected a file or a folder" if text.empty?
        raise DataError, "#{text} is a URL, expected a file: download it first" if text.b.match?(%r{\Ahttps?://})

        path = Plain.text(text)
        path.start_with?("~/") ? File.expand_path(path) : File.absolute_path(path)
      rescue ArgumentError => error # not UTF-8, or a NUL byte in it
        raise DataError, "#{text.inspect} can't be used as a path: #{error.message}", cause: nil
      end

      private

      def sendable(bytes)
        return bytes if bytes.bytesize <= MAX_BYTES

        raise DataError, "an image of #{bytes.bytesize} bytes, at most #{MAX_BYTES} can be sent: give its path"
      end

      def bytes?(text)
        return true if text.encoding == Encoding::BINARY

        text.encoding.ascii_compatible? && (text.b.include?("\0") || text.b.start_with?(*MAGIC))
      end
    end
  end
  private_constant :Input
end
