# frozen_string_literal: true

require_relative "input/image"
require_relative "input/text"
require_relative "input/row"
require_relative "input/attached"

module Transfer
  # Inputs in the wire format: the path of an image (text) or its bytes (binary), one or two texts, a row of a table.
  module Input
    # Most bytes of the inputs of one message, well below the 64 MiB of a frame.
    BATCH_BYTES = 16 * 1024 * 1024
    # Most bytes of one input.
    MAX_BYTES = 60 * 1024 * 1024
    # Most inputs of one message.
    BATCH_SIZE = 256

    KINDS = { "image" => Image, "text" => Text, "table" => Row }.freeze
    # Start of the worker's messages about an input that is not a file.
    PLACE = /\A(?:the )?(?:image|text|row)(?: (?<number>\d+) of \d+)?: /
    ENCODED = "Fix: give the path of a file, or its bytes (of Base64: `text.unpack1(\"m\")`)"
    # Methods of a value that is one input, though it may have `each`.
    ONE = %i[to_str to_hash read download attributes].freeze
    private_constant :KINDS, :ENCODED, :ONE

    class << self
      # @param modality [String] of the backbone: image, text or table
      # @return [String, Array<String>, Hash{String => Object}] the input in the wire format
      # @raise [ArgumentError] for an input of another kind
      # @raise [DataError] if it can't be sent
      def wire(value, modality) = KINDS.fetch(modality).wire(value)

      # @return [Boolean] whether the value is several inputs; a text, a row, a file or a record is one
      def several?(value)
        return true if value.is_a?(Array)

        value.respond_to?(:each) && !value.is_a?(Struct) && ONE.none? { |name| value.respond_to?(name) }
      end

      # @return [Integer] the approximate bytes of an input on the wire
      def weight(wire)
        case wire
        when String then wire.bytesize
        when Array then wire.sum { |part| weight(part) }
        when Hash then wire.sum { |name, cell| weight(name) + weight(cell) }
        else 9
        end
      end

      # The absolute path: the worker has another working directory.
      # @raise [DataError] for text that can't be a path
      def path(text)
        raise DataError, "an empty path, expected a file or a folder" if text.empty?
        raise DataError, "#{Plain.excerpt(text)} is a URL, expected a file. Fix: download it first" if url?(text)
        raise DataError, "#{Plain.brief(text)} is not a path: it has #{text.bytesize} bytes. #{ENCODED}" if long?(text)

        path = Plain.text(text)
        path.start_with?("~/") ? File.expand_path(path) : File.absolute_path(path)
      rescue ArgumentError => error # not UTF-8, or a NUL byte in it
        raise DataError, "#{Plain.excerpt(text).inspect} can't be used as a path: #{error.message}", cause: nil
      end

      # @return [Hash, nil] the fields of a Hash, a record, a row of a CSV, a Struct or a Data
      def named(value)
        return value.attributes if value.respond_to?(:attributes)

        # Arrays and nil respond to `to_h` as well.
        value.to_h if value.respond_to?(:to_hash) || value.is_a?(Struct) || value.is_a?(::Data)
      end

      # @raise [DataError] if there are too many
      def sendable(bytes, kind)
        check_size(bytes.bytesize, kind)
        bytes
      end

      # @param source [#read, #download] an IO, an upload, an attachment; one of too many bytes is not read to its end
      # @return [Object] its content
      # @raise [DataError] if it has too many bytes to be sent, or is an attachment whose file is missing
      def read(source, kind)
        size = %i[byte_size size].find { |name| source.respond_to?(name) }
        return first_bytes(source) if source.is_a?(IO) && !size

        size = source.public_send(size) if size
        check_size(size, kind) if size.is_a?(Integer)
        source.respond_to?(:read) ? source.read : Attached.found(source) { source.download }
      end

      private

      def check_size(bytes, kind)
        raise DataError, "#{kind} of #{bytes} bytes, at most #{MAX_BYTES} can be sent" if bytes > MAX_BYTES
      end

      # Of a pipe or a socket.
      def first_bytes(io)
        io.read(MAX_BYTES + 1).to_s.force_encoding(io.external_encoding || Encoding.default_external)
      end

      def url?(text) = text.b.match?(%r{\A[a-z][a-z0-9+.-]+://}i)

      # `PATH_MAX` of Linux; text that is longer, or begins so, holds an encoded file.
      def long?(text) = text.bytesize > 4096 || text.b.start_with?("data:")
    end
  end
  private_constant :Input
end

require_relative "input/batches"
