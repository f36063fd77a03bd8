# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "keygen NAME", "Create a key pair for signing models"
      long_desc <<~TEXT
        Writes an Ed25519 private key to NAME.pem, readable by you alone, and its public
        key to NAME.pub.pem. Existing files are never overwritten. Sign with the private
        key, and copy the public key to the machines that use the models.

          transfer keygen release
      TEXT
      shared_options :json
      def keygen(name)
        private_file, public_file = ["#{name}.pem", "#{name}.pub.pem"].each { |file| refuse_existing(file) }
        key = Signature::Keys.generate
        write_key(private_file, key.private_to_pem, 0o600)
        write_key(public_file, key.public_to_pem, 0o644)
        fingerprint = Signature::Keys.of(key).fingerprint
        output({ private_key: private_file, public_key: public_file, fingerprint: }) do
          [Table.render([["private key", "#{private_file}, keep it secret"], ["public key", public_file],
                         ["fingerprint", fingerprint]]), "Next: transfer sign MODEL --key #{private_file}"]
        end
      end

      private

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
end
