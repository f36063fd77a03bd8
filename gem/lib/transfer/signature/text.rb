# frozen_string_literal: true

module Transfer
  module Signature
    # The text of a signature file, and the message that is signed.
    module Text
      # Appended to the name of the model.
      SUFFIX = ".sig"
      # Version of the format.
      VERSION = 1
      # Largest size of a signature file in bytes.
      LONGEST = 512
      FIRST_LINE = /\Atransfer-signature: ([1-9][0-9]{0,8})\n/n
      ALGORITHM = /\A[^\n]*\nalgorithm: ([a-z0-9-]{1,40})\n/n
      LINES = Regexp.new(<<~'TEXT'.chomp, Regexp::NOENCODING)
        \Atransfer-signature: 1
        algorithm: ed25519
        key: (sha256:[0-9a-f]{64})
        signature: ([A-Za-z0-9+/]{86}==)
        \z
      TEXT
      private_constant :FIRST_LINE, :ALGORITHM, :LINES

      class << self
        # The first line separates this use of the key from all others, and from other versions of the format.
        # @param digest [String] the SHA-512 of the model in hex
        # @return [String]
        def signed_message(digest) = "transfer-rb model signature #{VERSION}\n#{digest}\n"

        # @param signer [String] the fingerprint of the key
        # @param signature [String] 64 bytes
        # @return [String]
        def render(signer, signature)
          "transfer-signature: #{VERSION}\nalgorithm: ed25519\nkey: #{signer}\nsignature: #{[signature].pack('m0')}\n".b
        end

        # @param text [String] the bytes of a signature file
        # @param file [String] its name
        # @return [Array(String, String)] the signer's fingerprint and the 64 bytes
        # @raise [SignatureError] for any text that is not output of {render}
        def parse(text, file)
          check_format(text, file)
          signer, encoded = text.match(LINES)&.captures
          signature = encoded&.unpack1("m")
          # Base64 has several encodings of the last byte; one is valid.
          return [signer, signature] if signature && render(signer, signature) == text

          raise SignatureError, "#{file} is damaged. Fix: sign the model again"
        end

        private

        def check_format(text, file)
          version = text[FIRST_LINE, 1]
          unless version && text.bytesize <= LONGEST
            raise SignatureError, "#{file} is not a signature of a model. Fix: sign the model again"
          end

          unless version.to_i == VERSION
            raise SignatureError, "#{file} has the signature format #{version}, expected #{VERSION}. " \
                                  "Fix: upgrade transfer-rb, or sign the model again"
          end

          algorithm = text[ALGORITHM, 1]
          return if [nil, "ed25519"].include?(algorithm)

          raise SignatureError, "#{file} has the algorithm #{algorithm}, expected ed25519"
        end
      end
    end
  end
end
