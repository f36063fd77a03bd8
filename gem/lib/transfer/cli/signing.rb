# frozen_string_literal: true

require "io/console"

module Transfer
  # Keys and signatures. None of these commands starts Python.
  class CLI
    desc "keygen NAME", "Create a key pair to sign models with"
    long_desc <<~TEXT, wrap: false
      Writes an Ed25519 private key to NAME.pem, readable by you alone, and its public
      key to NAME.pub.pem. Existing files are never overwritten. Sign with the private
      key, and give the public key to the machines that use the models.

        transfer keygen release
    TEXT
    json_option
    # Creates a key pair.
    def keygen(name)
      secret, open = ["#{name}.pem", "#{name}.pub.pem"].each { |file| refuse_existing(file) }
      key = Signature::Keys.generate
      write_key(secret, key.private_to_pem, 0o600)
      write_key(open, key.public_to_pem, 0o644)
      fingerprint = Signature::Keys.of(key).fingerprint
      answer({ private_key: secret, public_key: open, fingerprint: }) do
        puts Table.render([["private key", "#{secret}, keep it secret"], ["public key", open],
                           ["fingerprint", fingerprint]])
        puts "Next: transfer sign MODEL --key #{secret}"
      end
    end

    desc "sign MODEL", "Sign a model file"
    long_desc <<~TEXT, wrap: false
      Writes the signature to MODEL.sig. The key is an Ed25519 private key in PEM
      format, such as `transfer keygen` creates; if it is encrypted, the passphrase is
      read from the terminal.

        transfer sign signs.transfer --key release.pem
    TEXT
    option :key, banner: "KEY", required: true, desc: "The private key"
    json_option
    # Signs a model.
    def sign(model)
      key = signing_key(options[:key])
      file = Signature.sign(model, key)
      fingerprint = Signature::Keys.of(key).fingerprint
      answer({ file:, key: fingerprint }) { puts "#{file}: signature by #{fingerprint}" }
    end

    desc "verify MODEL", "Verify the signature of a model file"
    long_desc <<~TEXT, wrap: false
      Ends with status 0 if the model has a valid signature by one of the keys, else
      with 1. It speaks for the file as it is now; to be sure of the model that is
      used, give --signed-by to predict, evaluate, embed and info.

        transfer verify signs.transfer --key release.pub.pem
        TRANSFER_REQUIRE_SIGNATURE=release.pub.pem transfer verify signs.transfer
    TEXT
    option :key, banner: "KEY", desc: "The public key, in PEM or OpenSSH format"
    json_option
    # Verifies a signature.
    def verify(model)
      keys = options[:key] ? Signature::Keys.public(options[:key]) : Transfer.config.require_signature
      raise Thor::Error, "give the public key with --key" unless keys

      signer = Signature.verify(model, keys)
      answer({ file: model, key: signer.fingerprint }) { puts "#{model}: valid signature by #{signer.fingerprint}" }
    end

    private

    # @return [OpenSSL::PKey::PKey]
    def signing_key(path) = Signature::Keys.private(path) { |name| passphrase(name) if $stdin.tty? }

    # The terminal shows nothing of it, also if it is typed at once.
    def passphrase(name)
      $stdin.noecho do |terminal|
        $stderr.print "Passphrase of #{name}: "
        terminal.gets.to_s.chomp
      end
    ensure
      $stderr.puts
    end

    def refuse_existing(file)
      raise ConfigurationError, "#{file} exists already. Fix: choose another name, or delete it" if File.exist?(file)
    end

    def write_key(file, pem, mode)
      File.open(file, File::WRONLY | File::CREAT | File::EXCL, mode) { |opened| opened.write(pem) }
    rescue SystemCallError => error
      raise ConfigurationError, "can't write the key #{file}: #{error.class.new.message}", cause: nil
    end
  end
end
