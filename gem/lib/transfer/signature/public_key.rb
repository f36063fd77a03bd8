# frozen_string_literal: true

require "digest"
require "openssl"

module Transfer
  module Signature
    # Prefix of the 32 bytes of an Ed25519 public key in DER (RFC 8410).
    SPKI = ["302a300506032b6570032100"].pack("H*").freeze
    private_constant :SPKI

    # An Ed25519 public key.
    #
    # @!attribute [r] bytes
    #   @return [String] the 32 bytes of RFC 8032
    PublicKey = ::Data.define(:bytes) do
      # @return [String] `sha256:` and the hex SHA-256 of the key as DER (SubjectPublicKeyInfo)
      def fingerprint = "sha256:#{Digest::SHA256.hexdigest(SPKI + bytes)}"

      # @return [Boolean] false also for malformed signatures
      def verify(signature, message)
        OpenSSL::PKey.read(SPKI + bytes).verify(nil, signature, message)
      rescue OpenSSL::PKey::PKeyError
        false
      end

      def inspect = "#<Transfer public key #{fingerprint}>"
      alias_method :to_s, :inspect
    end
  end
end
