# frozen_string_literal: true

module Transfer
  module Rails
    # The labelling queue: predictions that were not accepted, the least certain first.
    class ReviewsController < BaseController
      def index
        @queue = waiting
        @prediction = @queue.first
        @labels = labels
      end

      def update
        prediction = Prediction.find(params[:id])
        use = uses.find { |one| prediction.record.is_a?(one.record_class) && one.options.name == prediction.name }
        raise ActiveRecord::RecordNotFound unless use

        prediction.record.prediction_for(prediction.name).correct!(params.require(:label))
        redirect_to model_reviews_path(model.name)
      rescue ArgumentError, ActionController::ParameterMissing => error
        redirect_to model_reviews_path(model.name), alert: error.message
      end

      private

      def uses = @uses ||= Uses.of(model)

      def waiting
        names = uses.map { |use| use.options.name }
        types = uses.map { |use| use.record_class.polymorphic_name }
        @count = Prediction.where(state: "abstained", name: names, record_type: types).count
        Prediction.where(state: "abstained", name: names, record_type: types).order(:score, :id).limit(1)
      end

      def labels
        known = model.live_version&.summary.to_h["labels"] || []
        (known | model.examples.distinct.pluck(:label)).sort.first(50)
      end
    end
  end
end
