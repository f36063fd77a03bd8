# frozen_string_literal: true

module Transfer
  module Rails
    # The labelling queue: predictions that were not accepted, those of novel inputs first, then the least certain.
    class ReviewsController < BaseController
      def index
        @count = waiting.count
        @prediction = waiting.first
        @labels = labels
      end

      def update
        prediction = Prediction.find(params[:id])
        raise ActiveRecord::RecordNotFound unless use_of(prediction)

        prediction.record.prediction_for(prediction.name).correct!(params.require(:label))
        redirect_to model_reviews_path(model.name)
      rescue ArgumentError, ActionController::ParameterMissing => error
        redirect_to model_reviews_path(model.name), alert: error.message
      end

      private

      def waiting
        names = uses.map { |use| use.options.name }
        types = uses.map { |use| use.record_class.polymorphic_name }
        Prediction.to_review.where(name: names, record_type: types)
      end

      def labels
        known = model.live_version&.summary.to_h["labels"] || []
        (known | model.examples.distinct.pluck(:label)).sort.first(50)
      end
    end
  end
end
