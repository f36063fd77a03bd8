# frozen_string_literal: true

module Transfer
  module Rails
    # What a class with predictions has beside the methods of each.
    module Reviewing
      extend ActiveSupport::Concern

      # @return [Array<Class>] the classes with predictions
      def self.classes
        ActiveRecord::Base.descendants.select { |kind| kind < Reviewing && kind.name && !kind.abstract_class? }
      end

      # Order of records that need a review.
      module Order
        # @return [ActiveRecord::Relation] the least probable prediction first
        def most_uncertain = order(Prediction.arel_table[:score].asc.nulls_first)

        # @return [ActiveRecord::Relation] the input least similar to the training examples first
        def most_novel = order(Prediction.arel_table[:novelty].desc.nulls_last)
      end

      included do
        class_attribute :predictions_by_name, instance_accessor: false, default: {}
      end

      class_methods do
        # @param name [Symbol] of a prediction
        # @return [ActiveRecord::Relation] records whose prediction was not accepted
        def needs_review(name)
          prediction_options(name)
          joins(:"#{name}_prediction").where(transfer_predictions: { state: %w[abstained] })
                                      .includes(:"#{name}_prediction").extending(Order)
        end

        # Enqueues a job that predicts all records whose input or version has changed; one that is not saved yet, later.
        # @param name [Symbol]
        # @return [PredictAllJob]
        def predict_all(name)
          prediction_options(name)
          PredictAllJob.perform_later(self.name, name.to_s, [minimum(primary_key), maximum(primary_key)])
        end

        # Makes examples of the records that have a label, and enqueues a training.
        # @param name [Symbol]
        # @return [Run]
        # @raise [TrainingUnderway]
        # @raise [Transfer::DataError] if no record has a label
        def train_prediction(name)
          options = prediction_options(name)
          all.find_each { |record| record.prediction_for(name).learn_label } if options.labels
          Rails.model(options.model).train(recipe: options.recipe)
        end

        # @param name [Symbol, String]
        # @return [PredictionFor::Options]
        # @raise [ArgumentError] if the class has no such prediction
        def prediction_options(name)
          predictions_by_name.fetch(name.to_s) do
            names = predictions_by_name.keys.join(", ")
            raise ArgumentError, "#{self.name} has no prediction #{name}; it has: #{names}"
          end
        end
      end

      # @param name [Symbol, String]
      # @return [PredictionFor]
      def prediction_for(name) = PredictionFor.new(self, self.class.prediction_options(name))
    end
  end
end
