# frozen_string_literal: true

module Transfer
  # The public keys of which one must have signed a model: those given for it, or else those of
  # `Transfer.config.require_signature` at the time of a call.
  # @api private
  class Demand
    # @param signed_by [Object, nil] as `Signature::Keys.public` takes it; nil: the settings alone decide
    # @raise [SignatureError] if a key is unusable
    def initialize(signed_by)
      @given = signed_by.nil? ? nil : Signature::Keys.public(signed_by)
    end

    # @return [Array<Signature::PublicKey>, nil] nil if no signature is demanded
    # @raise [SignatureError] if a given key is not among those of the settings
    def keys
      required = Transfer.config.require_signature
      check(@given - required) if @given && required
      @given || required
    end

    # @return [Hash{String => Array<String>}] the parameter of a request; empty if no signature is demanded
    # @raise (see #keys)
    def to_h = (demanded = keys) ? { "signed_by" => demanded.map(&:bytes) } : {}

    private

    def check(others)
      return if others.empty?

      raise SignatureError, "signed_by has the key #{others.first.fingerprint}, which is not among those of " \
                            "require_signature. Fix: pass a key that is, or change Transfer.config.require_signature"
    end
  end
  private_constant :Demand
end
