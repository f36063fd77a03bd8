# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # A training example near to an input ({Model#similar}). `distance` is Euclidean, between embeddings: of images and
  # texts 0 to 2. `label` is that of the training data: a String, an Array of labels, a Float, or a Hash of Floats by
  # name. `name` is the end of the path of an image, unescaped, `text` the beginning of a text or row, and `thumbnail`
  # a JPEG of at most 64 × 64 pixels of an image; nil where the model does not store it.
  Similar = ::Data.define(:distance, :label, :name, :text, :thumbnail) do
    include ValueObject

    # @param plain [Hash{String => Object}] as the worker sends it
    # @return [Similar]
    # @api private
    def self.parse(plain) = new(**plain.transform_keys(&:to_sym))

    # @return [Hash{Symbol => Object}] without the thumbnail
    def to_h = { distance:, label:, name:, text: }.compact
  end

  # A training example that influences a prediction ({Model#influential}). `influence` is the estimated change of the
  # log probability of the predicted class or label, or of the predicted value, by having it in the training; the others
  # are as in {Similar}.
  Influential = ::Data.define(:influence, :label, :name, :text, :thumbnail) do
    include ValueObject

    # @param plain [Hash{String => Object}] as the worker sends it
    # @return [Influential]
    # @api private
    def self.parse(plain) = new(**plain.transform_keys(&:to_sym))

    # @return [Hash{Symbol => Object}] without the thumbnail
    def to_h = { influence:, label:, name:, text: }.compact
  end
end
