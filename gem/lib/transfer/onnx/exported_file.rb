# frozen_string_literal: true

require "openssl"
require_relative "description"
require_relative "graph"

module Transfer
  module Onnx
    # An exported file (docs/reference/onnx_file.md): what was checked of its content, and the content itself.
    class ExportedFile
      # The last entry of the metadata: its bytes before the digest in hex, and all of them.
      DIGEST_ENTRY = "\x72\x4a\x0a\x06sha256\x12\x40".b
      DIGEST_BYTES = 76
      # The limit of the format.
      MOST_BYTES = (2**31) - 1
      EXPORT_AGAIN = "Fix: export the model again (model.export)"
      private_constant :DIGEST_ENTRY, :DIGEST_BYTES, :MOST_BYTES, :EXPORT_AGAIN

      # @return [String] absolute
      attr_reader :path
      # @return [Description]
      attr_reader :description
      # @return [Array<String>] names
      attr_reader :inputs, :outputs
      # @return [Hash{String => String}] other entries, such as tokenizer.json
      attr_reader :files
      # @return [Integer] bytes
      attr_reader :size

      # @param path [String]
      # @param demand [Demand]
      # @raise [ModelFileError] if it is damaged, newer than this version, or not exported by it
      # @raise [SignatureError] if it lacks the required signature
      def initialize(path, demand)
        @path = path
        @content, ending = read
        verify(demand.keys, ending)
        @size = @content.bytesize + ending.bytesize
        @digest = checked_digest(ending)
        keep(Graph.new(@digest ? @content : @content + ending))
      rescue Protobuf::Malformed
        raise ModelFileError, "#{path} is not an ONNX file, or damaged. #{EXPORT_AGAIN}", cause: nil
      rescue Graph::External
        raise ModelFileError, "#{path} has tensors in other files, which are not read. #{EXPORT_AGAIN}", cause: nil
      rescue Description::Invalid => error
        raise ModelFileError, "#{path}: #{error.message}. #{EXPORT_AGAIN}", cause: nil
      end

      # The content is held until a session was created from it; a later process reads the file again.
      # @yieldparam content [String]
      # @return what the block returns
      # @raise [ModelFileError] if the file has changed since
      def with_content
        @content ||= read.then do |content, ending|
          next content if ending.end_with?(@digest)

          raise ModelFileError, "#{path} has changed since it was loaded. Fix: load it again (model.reload)"
        end
        yield(@content).tap { @content = nil }
      end

      private

      # Opening a pipe must not block.
      # @return [Array(String, String)] the graph, and its digest
      def read
        File.open(path, File::RDONLY | File::NONBLOCK | File::BINARY) do |file|
          raise ModelFileError, "#{path} is not a regular file" unless file.stat.file?

          raise ModelFileError, "#{path} is larger than #{MOST_BYTES} bytes" if file.size > MOST_BYTES

          [file.read([file.size - DIGEST_BYTES, 0].max).to_s, file.read(DIGEST_BYTES).to_s]
        end
      rescue Errno::ENOENT
        raise ModelFileError, "there is no file #{path}", cause: nil
      rescue SystemCallError => error
        raise ModelFileError, "can't read #{path}: #{error.class.new.message}", cause: nil
      end

      def verify(keys, ending)
        Signature.verify(path, keys, OpenSSL::Digest.new("SHA512").update(@content).update(ending).hexdigest) if keys
      end

      # @return [String, nil] the digest in hex; nil without one
      def checked_digest(ending)
        return unless ending.start_with?(DIGEST_ENTRY)

        found = ending.delete_prefix(DIGEST_ENTRY)
        return found if found == OpenSSL::Digest.new("SHA256").hexdigest(@content)

        raise ModelFileError, "#{path} is damaged: its content is not the one that was exported. #{EXPORT_AGAIN}"
      end

      def keep(graph)
        text = graph.metadata["transfer"]
        unless text
          raise ModelFileError, "#{path} was not exported by transfer-rb: it has no labels and no preprocessing. " \
                                "Fix: use it as a backbone (backbone: \"#{path}\"), or run it with the gem onnxruntime"
        end
        raise ModelFileError, "#{path} is truncated. #{EXPORT_AGAIN}" unless @digest

        @description = Description.new(text)
        @inputs = graph.inputs
        @outputs = graph.outputs
        @files = graph.metadata.except("transfer", "sha256")
      end
    end
    private_constant :ExportedFile
  end
end
