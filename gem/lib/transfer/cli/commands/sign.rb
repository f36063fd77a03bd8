# frozen_string_literal: true

require "io/console"

module Transfer
  module CLI
    class Root
      desc "sign MODEL", "Sign a model file"
      long_desc <<~TEXT
        Writes the signature to MODEL.sig. The key is an Ed25519 private key in PEM
        format, such as `transfer keygen` creates. The passphrase of an encrypted key is
        read from the terminal.

          transfer sign signs.transfer --key release.pem
      TEXT
      option :key, banner: "KEY", required: true, desc: "Private key"
      shared_options :json
      def sign(model)
        key = signing_key(options[:key])
        file = Signature.sign(model, key)
        fingerprint = Signature::Keys.of(key).fingerprint
        output({ file:, key: fingerprint }) { "#{file}: signature by #{fingerprint}" }
      end

      private

      # @return [OpenSSL::PKey::PKey]
      def signing_key(path) = Signature::Keys.private(path) { |name| passphrase(name) if $stdin.tty? }

      # Echo is off before the prompt appears: the answer may be typed at once.
      def passphrase(name)
        $stdin.noecho do |terminal|
          $stderr.print "Passphrase of #{name}: "
          terminal.gets.to_s.chomp
        end
      ensure
        $stderr.puts
      end
    end
  end
end
