# frozen_string_literal: true

module Transfer
  module Rails
    # Versions: held-out predictions, comparison and promotion.
    class VersionsController < BaseController
      before_action { @version = model.versions.find_by!(number: params[:number]) }

      def show
        @confusion = @version.held_out.group_by { |one| one.values_at("label", "predicted") }
        @labels = @version.held_out.flat_map { |one| one.values_at("label", "predicted") }.uniq.sort_by(&:to_s)
        @wrong = examples(@version.held_out.select { |one| one["loss"].positive? }
                                           .sort_by { |one| -(one["score"] || one["loss"]) }.first(24))
      end

      def compare
        @other = model.versions.find_by!(number: params[:other])
        @difference = @version.compare(@other)
        @disagreements = @version.disagreements(@other)
      end

      def promote
        model.promote!(@version, force: params[:force] == "1")
        redirect_to model_path(model.name), notice: t("transfer.versions.promoted", number: @version.number)
      rescue Transfer::Error => error
        redirect_to model_version_path(model.name, @version.number), alert: error.message
      end

      private

      def examples(measured)
        found = Example.where(id: measured.map { |one| one["example"] }).index_by(&:id)
        measured.filter_map { |one| [found[one["example"]], one] if found[one["example"]] }
      end
    end
  end
end
