# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Model#predict_all}: the file at `path` has `rows` rows, one per input in their order. `failed` of
  # them have an error in place of a prediction; `reused` of them were predicted before an interruption.
  PredictedFile = ::Data.define(:path, :rows, :failed, :reused) do
    include ValueObject

    # @param plain [Hash{String => Object}] as the worker sends it
    # @return [PredictedFile]
    # @api private
    def self.parse(plain) = new(**plain.transform_keys(&:to_sym), path: Pathname.new(plain["path"]))
  end
end
