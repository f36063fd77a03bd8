# frozen_string_literal: true

require_relative "value_object"

module Transfer
  # The result of {Model#export}: the file and how it compares with the model.
  #
  # `error` is the largest difference from the model's embeddings on made-up inputs, as a share of their largest number.
  # `before` and `after` are the `metric` of the model and of the file on so many `examples`, nil without data. `loader`
  # is the script that was written beside the file.
  ExportReport = ::Data.define(:path, :bytes, :precision, :error, :metric, :before, :after, :examples, :loader) do
    include ValueObject

    # @param plain [Hash{String => Object}] as the worker sends it
    # @return [ExportReport]
    # @api private
    def self.parse(plain)
      words = plain.transform_keys(&:to_sym)
      path, loader = words.values_at(:path, :loader).map { |file| file && Pathname.new(file) }
      new(**words, path:, loader:, precision: words[:precision].to_sym, metric: words[:metric]&.to_sym)
    end
  end
end
