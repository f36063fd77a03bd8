# frozen_string_literal: true

module Transfer
  module Rails
    # The macro that `ActiveRecord::Base` gets.
    module HasPrediction
      # Predicts an attribute of each record from its file, a text or several columns, in the background.
      #
      # Defines, for the name `kind`:
      #
      # - `kind`, the predicted label or number, nil unless it was accepted, and `kind_prediction`, the record of it
      # - `predict_kind!` now and `predict_kind_later` in a job; both nothing if input and version are unchanged
      # - `correct_kind!(label, by: user)`, which also makes a training example of the record
      # - `needs_review(:kind)` of the class: records whose prediction was not accepted
      # - `predict_all(:kind)` of the class: a job that predicts all records
      # - `train_prediction(:kind)` of the class: labels, then a training
      #
      # Write it below `has_one_attached`, since the file is uploaded first then.
      #
      # @param name [Symbol] must not be a column
      # @param from [Symbol, Array<Symbol>] an attachment, a text column, or the columns of a table row
      # @param words [Hash{Symbol => Object}] `model:`, name of the model, default: the table's name and this one;
      #   `recipe:`, name of the recipe class, default: of the class and this name, `PhotoKindRecipe`; `labels:`, method
      #   that returns the known label of a record or nil; `accept:`, smallest probability with which a prediction is
      #   accepted, default 0
      # @param on [Symbol] `:commit` predicts after each commit that changed the input, `:demand` never by itself
      # @return [void]
      # @example
      #   class Photo < ApplicationRecord
      #     has_one_attached :file
      #     has_prediction :kind, from: :file, accept: 0.9
      #   end
      def has_prediction(name, from:, on: :commit, **words)
        raise ArgumentError, "on is :commit or :demand, got #{on.inspect}" unless %i[commit demand].include?(on)

        include Reviewing unless include?(Reviewing)
        options = PredictionFor::Options.for(self, name, from:, **words)
        self.predictions_by_name = { **predictions_by_name, name.to_s => options }
        define_prediction(name)
        after_commit(-> { prediction_for(name).changed }, on: %i[create update]) if on == :commit
      end

      private

      def define_prediction(name)
        has_one :"#{name}_prediction", -> { where(name: name.to_s) },
                class_name: "Transfer::Rails::Prediction", as: :record, dependent: :destroy, inverse_of: :record
        define_method(name) { prediction_for(name).value }
        define_method(:"predict_#{name}!") { prediction_for(name).predict! }
        define_method(:"predict_#{name}_later") { prediction_for(name).predict_later }
        define_method(:"correct_#{name}!") { |label, by: nil| prediction_for(name).correct!(label, by:) }
      end
    end
  end
end
