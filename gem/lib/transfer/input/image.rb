# frozen_string_literal: true

module Transfer
  module Input
    # An image: the path of a file, or encoded bytes.
    module Image
      # First bytes of JPEG and PNG, which no path has. Other formats are recognized by a NUL byte.
      MAGIC = ["\xFF\xD8\xFF".b, "\x89PNG".b].freeze
      INPUTS = "an input is a path, an IO or the bytes of an image"
      private_constant :MAGIC, :INPUTS

      class << self
        # @param value [String, Pathname, #read, #download] a path, the bytes of an image, an IO, an attachment, or a
        #   record with one
        # @return [String] an absolute path, or binary
        # @raise [ArgumentError] for anything else
        # @raise [DataError] for an invalid path, or too many bytes
        def wire(value)
          case value
          when String then bytes?(value) ? sendable(value.b) : Input.path(value)
          when Pathname then Input.path(value.to_s)
          else
            value = Attached.present(value)
            readable = %i[read download].any? { |name| value.respond_to?(name) }
            raise ArgumentError, "#{INPUTS}, got #{value.class}" unless readable

            bytes = to_be_sent { Input.read(value, "an image") }
            raise ArgumentError, "#{INPUTS}; reading gave #{bytes.class}" unless bytes.is_a?(String)

            sendable(bytes.b)
          end
        end

        private

        def sendable(bytes) = to_be_sent { Input.sendable(bytes, "an image") }

        def to_be_sent
          yield
        rescue DataError => error
          raise if error.details.key?("input")

          raise error, "#{error.message}: give its path", cause: nil
        end

        # A binary String is never a path, whatever it contains: it may be an upload.
        def bytes?(text)
          return true if text.encoding == Encoding::BINARY

          text.encoding.ascii_compatible? && (text.b.include?("\0") || text.b.start_with?(*MAGIC))
        end
      end
    end
    private_constant :Image
  end
end
