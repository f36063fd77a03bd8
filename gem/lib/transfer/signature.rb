# frozen_string_literal: true

require "openssl"
require_relative "replacement"
require_relative "signature/public_key"
require_relative "signature/keys"
require_relative "signature/text"

module Transfer
  # Detached Ed25519 signatures of model files (docs/guides/signing.md) with Ruby's OpenSSL. The core verifies the bytes
  # that it loads; private keys stay in this process.
  module Signature
    class << self
      # Signs the current content of a file.
      # @param model [String] its file
      # @param key [OpenSSL::PKey::PKey] as {Keys.private} returns it
      # @return [String] the signature file
      # @raise [ModelFileError] if the model can't be read
      # @raise [ConfigurationError] if the signature can't be written
      def sign(model, key) = write(model, key, digest(model))

      # Signs a known digest.
      # @param digest [String] the SHA-512 of the model in hex
      # @return (see sign)
      # @raise [ConfigurationError] if the signature can't be written
      def write(model, key, digest)
        signature = key.sign(nil, Text.signed_message(digest))
        file = "#{model}#{Text::SUFFIX}"
        Replacement.write(file, Text.render(Keys.of(key).fingerprint, signature))
        file
      end

      # @param model [String] its file
      # @param keys [Array<PublicKey>]
      # @param digest [String, nil] the SHA-512 of its content in hex, where it was read; nil: read it
      # @return [PublicKey] the signer's key
      # @raise [ModelFileError] if the model can't be read
      # @raise [SignatureError] if no key signed the current content
      def verify(model, keys, digest = nil)
        digest ||= digest(model)
        signer, signature = Text.parse(read(model), "#{model}#{Text::SUFFIX}")
        key = keys.find { |each| each.fingerprint == signer } or raise SignatureError, other_key(model, signer, keys)
        return key if key.verify(signature, Text.signed_message(digest))

        raise SignatureError, "#{model}#{Text::SUFFIX} does not match #{model}: one of them was changed, or belongs " \
                              "to another. Fix: restore both files, or sign the model again if you trust it"
      end

      private

      def other_key(model, signer, keys)
        "#{model} is signed with the key #{signer}, expected #{keys.map(&:fingerprint).sort.join(', ')}. " \
          "Fix: sign it with that key, or pass the signer's public key"
      end

      def digest(model)
        open_regular(model) do |file|
          digest = OpenSSL::Digest.new("SHA512")
          chunk = +""
          digest << chunk while file.read(1 << 20, chunk)
          digest.hexdigest
        end
      rescue Errno::ENOENT
        raise ModelFileError, "there is no file #{model}", cause: nil
      end

      def read(model)
        open_regular("#{model}#{Text::SUFFIX}") { |file| file.read(Text::LONGEST + 1).to_s }
      rescue Errno::ENOENT
        raise SignatureError, "#{model} is not signed: there is no file #{model}#{Text::SUFFIX}. " \
                              "Fix: transfer sign #{model} --key KEY.pem", cause: nil
      end

      # Opening a pipe must not block.
      def open_regular(path)
        File.open(path, File::RDONLY | File::NONBLOCK | File::BINARY) do |file|
          raise ModelFileError, "#{path} is not a regular file" unless file.stat.file?

          yield file
        end
      rescue Errno::ENOENT
        raise
      rescue SystemCallError => error
        raise ModelFileError, "can't read #{path}: #{error.class.new.message}", cause: nil
      end
    end
  end
  private_constant :Signature
end
