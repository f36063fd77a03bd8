# frozen_string_literal: true

module Transfer
  module Input
    # An image: the path of a file, or encoded bytes.
    module Image
      # The first bytes of JPEG and PNG: no path begins like them. The other formats are known by a NUL byte.
      MAGIC = ["\xFF\xD8\xFF".b, "\x89PNG".b].freeze
      INPUTS = "an input is a path, an IO or the bytes of an image"
      private_constant :MAGIC, :INPUTS

      class << self
        # @param value [String, Pathname, IO, StringIO] a path, the bytes of an image, or something to read them from
        # @return [String] an absolute path, or binary
        # @raise [ArgumentError] for anything else
        # @raise [DataError] if the path can't be one, or the bytes are too many to be sent
        def wire(value)
          case value
          when String then bytes?(value) ? sendable(value.b) : Input.path(value)
          when Pathname then Input.path(value.to_s)
          else
            raise ArgumentError, "#{INPUTS}, got #{value.class}" unless value.respond_to?(:read)

            bytes = value.read
            raise ArgumentError, "#{INPUTS}; reading gave #{bytes.class}" unless bytes.is_a?(String)

            sendable(bytes.b)
          end
        end

        private

        def sendable(bytes)
          Input.sendable(bytes, "an image")
        rescue DataError => error
          raise error, "#{error.message}: give its path", cause: nil
        end

        def bytes?(text)
          return true if text.encoding == Encoding::BINARY

          text.encoding.ascii_compatible? && (text.b.include?("\0") || text.b.start_with?(*MAGIC))
        end
      end
    end
    private_constant :Image
  end
end
