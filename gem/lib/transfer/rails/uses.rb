# frozen_string_literal: true

module Transfer
  module Rails
    # Where the application uses a model: the classes with `has_prediction`.
    Uses = ::Data.define(:record_class, :options) do
      # @param model [Model]
      # @return [Array<Uses>]
      def self.of(model)
        ::Rails.application.eager_load! unless ::Rails.application.config.eager_load
        Reviewing.classes.flat_map do |record_class|
          record_class.predictions_by_name.values.select { |options| options.model == model.name }
                      .map { |options| new(record_class:, options:) }
        end
      end

      # @return [String]
      def recipe = options.recipe
    end
  end
end
