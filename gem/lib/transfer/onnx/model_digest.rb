# frozen_string_literal: true

require "json"
require "openssl"

module Transfer
  module Onnx
    # The digest of a model file's content, without its tensors (docs/reference/model_file.md).
    module ModelDigest
      LONGEST = 100_000_000
      private_constant :LONGEST

      # @param path [String, Pathname] a `.transfer` file
      # @return [String, nil] sha256 in hex; nil if it is no model file
      def self.of(path)
        header = File.open(path, File::RDONLY | File::NONBLOCK | File::BINARY) do |file|
          size = file.read(8).to_s.unpack1("Q<").to_i
          file.read(size).to_s if file.stat.file? && size.between?(2, LONGEST)
        end
        entry = JSON.parse(header.to_s, max_nesting: 100).dig("__metadata__", "transfer")
        OpenSSL::Digest.new("SHA256").hexdigest(entry) if entry.is_a?(String)
      rescue SystemCallError, JSON::ParserError, TypeError
        nil
      end
    end
    private_constant :ModelDigest
  end
end
