# frozen_string_literal: true

require_relative "public_key"

module Transfer
  module Signature
    # Reads Ed25519 keys: PEM files, PEM text, OpenSSH public keys, OpenSSL objects. No error contains a key.
    module Keys
      LARGEST_FILE = 65_536
      # Prefix of the 32 bytes of an OpenSSH public key.
      OPENSSH = "\0\0\0\vssh-ed25519\0\0\0 ".b.freeze
      TEXT = /\A\s*(-----BEGIN|ssh-[a-z0-9-]+ )/
      KEYGEN = "Fix: create a key with transfer keygen"
      private_constant :LARGEST_FILE, :OPENSSH, :TEXT, :KEYGEN

      class << self
        # @param given [String, Pathname, OpenSSL::PKey::PKey, Array] public keys: paths (in a String also several, with
        #   `File::PATH_SEPARATOR` between them), text in PEM or OpenSSH format, or objects
        # @return [Array<PublicKey>] at least one
        # @raise [SignatureError] if a key is unusable or the list is empty
        def public(given)
          keys = several(given).map { |each| one_public(each) }.uniq
          keys.empty? ? raise(SignatureError, "no key was given, expected at least one public key") : keys
        end

        # @param given [String, Pathname, OpenSSL::PKey::PKey] a path to PEM (PKCS #8), such text, or an object
        # @yieldparam name [String] of an encrypted key
        # @yieldreturn [String, nil] its passphrase; nil: unknown, as without a block
        # @return [OpenSSL::PKey::PKey]
        # @raise [SignatureError] for an unusable key
        def private(given, &)
          return ed25519(given, "the given key") if given.is_a?(OpenSSL::PKey::PKey)

          text, name = text_of(given)
          if text.match?(/PUBLIC KEY-----|\Assh-/)
            raise SignatureError, "#{name} is a public key, expected the private one"
          end

          ed25519(decode(text, name, passphrase(text, name, &)) { "a private key" }, name)
        end

        # @return [OpenSSL::PKey::PKey] a new private key
        def generate = OpenSSL::PKey.generate_key("ED25519")

        # @param key [OpenSSL::PKey::PKey] an Ed25519 key
        # @return [PublicKey] its public half
        def of(key) = PublicKey.new(key.public_to_der.byteslice(-32, 32))

        private

        def several(given)
          return given if given.is_a?(Array)

          given.is_a?(String) && !given.match?(TEXT) ? given.split(File::PATH_SEPARATOR, -1) : [given]
        end

        def one_public(given)
          return given if given.is_a?(PublicKey)
          return of(ed25519(given, "the given key")) if given.is_a?(OpenSSL::PKey::PKey)

          text, name = text_of(given)
          if text.include?("PRIVATE KEY-----")
            raise SignatureError, "#{name} is a private key, expected the public one. " \
                                  "Fix: openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
          end
          return openssh(text, name) if text.start_with?("ssh-")

          of(ed25519(decode(text, name, "") { "a public key" }, name))
        end

        # Always with a passphrase: OpenSSL would prompt for one.
        def decode(text, name, passphrase)
          OpenSSL::PKey.read(text, passphrase)
        rescue OpenSSL::PKey::PKeyError
          raise SignatureError, "#{name} is not #{yield}, or its passphrase is wrong; expected Ed25519 in PEM " \
                                "format. #{KEYGEN}", cause: nil
        end

        def passphrase(text, name)
          return "" unless text.include?("ENCRYPTED")

          (yield name if block_given?) or
            raise SignatureError, "#{name} is encrypted. Fix: give its passphrase on a terminal, or pass the " \
                                  "decrypted key: sign: OpenSSL::PKey.read(pem, passphrase)"
        end

        def ed25519(key, name)
          return key if key.oid == "ED25519"

          raise SignatureError, "#{name} is a key of type #{key.oid}, expected an Ed25519 key. #{KEYGEN}"
        end

        def openssh(text, name)
          kind, content = text.split(nil, 3)
          unless kind == "ssh-ed25519"
            raise SignatureError, "#{name} is a key of type #{kind[0, 40]}, expected ssh-ed25519"
          end

          bytes = content.to_s.unpack1("m0")
          return PublicKey.new(bytes.byteslice(-32, 32)) if bytes.size == 51 && bytes.start_with?(OPENSSH)

          raise SignatureError, "#{name} is a damaged OpenSSH public key"
        rescue ArgumentError # invalid Base64
          raise SignatureError, "#{name} is a damaged OpenSSH public key", cause: nil
        end

        # The text of a key, and its name in errors.
        def text_of(given)
          return [given.b.lstrip, "the given key"] if given.is_a?(String) && given.match?(TEXT)
          unless given.is_a?(String) || given.respond_to?(:to_path)
            raise SignatureError, "a key is a path, PEM text or an OpenSSL::PKey, got #{given.class}. #{KEYGEN}"
          end

          path = File.expand_path(given)
          [File.binread(path, LARGEST_FILE).to_s.lstrip, path]
        rescue SystemCallError, ArgumentError => error
          raise SignatureError, "can't read the key #{given}: #{error.message[/\A[^@]*/].strip}", cause: nil
        end
      end
    end
  end
end
