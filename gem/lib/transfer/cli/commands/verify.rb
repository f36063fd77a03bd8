# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "verify MODEL", "Verify the signature of a model file"
      long_desc <<~TEXT
        Exits with status 0 if the model has a valid signature by one of the keys, else
        with 3. The result holds for the file at this moment; to be sure of the model
        that is used, give --signed-by to predict, evaluate, embed and info.

          transfer verify signs.transfer --key release.pub.pem
          TRANSFER_REQUIRE_SIGNATURE=release.pub.pem transfer verify signs.transfer
      TEXT
      option :key, banner: "KEY", desc: "Public key, in PEM or OpenSSH format"
      shared_options :json
      def verify(model)
        keys = options[:key] ? Signature::Keys.public(options[:key]) : Transfer.config.require_signature
        raise Thor::Error, "give the public key with --key" unless keys

        signer = Signature.verify(model, keys).fingerprint
        output({ file: model, key: signer }) { "#{model}: valid signature by #{signer}" }
      end
    end
  end
end
