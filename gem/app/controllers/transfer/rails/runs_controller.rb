# frozen_string_literal: true

module Transfer
  module Rails
    # Trainings and their progress.
    class RunsController < BaseController
      PAGE = 50

      before_action(only: %i[show state cancel]) { @run = Run.find(params[:id]) }

      # Pages by id, which stay fast however many runs there are.
      def index
        Run.requeue_lost
        runs = Run.listed
        runs = runs.where(id: ...params[:before].to_i) if params[:before]
        @runs = runs.limit(PAGE + 1).to_a
        @more = @runs.size > PAGE
        @runs = @runs.first(PAGE)
      end

      def show; end

      # The part of the page that changes; the browser asks for it with the ETag of the last one.
      def state
        return unless stale?(etag: [@run, FrontendController::VERSION])

        render partial: "transfer/rails/runs/state", locals: { run: @run }
      end

      def cancel
        @run.cancel
        redirect_to run_path(@run), notice: t("transfer.runs.cancelling")
      end
    end
  end
end
