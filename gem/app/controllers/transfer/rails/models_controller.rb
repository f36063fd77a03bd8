# frozen_string_literal: true

module Transfer
  module Rails
    # Models, their versions, and the start of trainings.
    class ModelsController < BaseController
      def index
        Run.requeue_lost
        @models = Model.includes(:live_version).order(:name)
        @runs = Run.listed.limit(10)
      end

      def show
        @versions = model.versions.order(number: :desc).limit(50)
        @runs = model.runs.listed.limit(10)
        uses
        @counts = model.examples.group(:label, :split).count
      end

      # Only recipes that the application connects with this model: the web names neither classes, paths nor backbones.
      def train
        recipe = uses.map(&:recipe).uniq.find { |name| name == params[:recipe] }
        return head(:unprocessable_entity) unless recipe

        redirect_to run_path(model.train(recipe:))
      rescue Transfer::Error => error
        redirect_to model_path(model.name), alert: error.message
      end

      def roll_back
        model.roll_back!
        redirect_to model_path(model.name), notice: t("transfer.models.rolled_back", number: model.live_version.number)
      rescue NotPromoted => error
        redirect_to model_path(model.name), alert: error.message
      end
    end
  end
end
