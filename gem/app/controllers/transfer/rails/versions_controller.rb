# frozen_string_literal: true

module Transfer
  module Rails
    # Versions: held-out predictions, comparison and promotion.
    class VersionsController < BaseController
      # The page has inline styles and pictures, and nothing else may be loaded, run or sent.
      REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; " \
                      "base-uri 'none'; frame-ancestors 'none'; sandbox"
      # Pictures on a page.
      MOST = 24
      private_constant :REPORT_POLICY, :MOST

      before_action { @version = model.versions.find_by!(number: params[:number]) }

      def show
        @confusion = @version.held_out.group_by { |one| one.values_at("label", "predicted") }
        @labels = @version.held_out.flat_map { |one| one.values_at("label", "predicted") }.uniq.sort_by(&:to_s)
        @cell = params.values_at(:truth, :predicted) if params[:truth] && params[:predicted]
        @shown = examples((@cell ? @confusion.fetch(@cell, []) : wrong)
                          .sort_by { |one| -(one["score"] || one["loss"]) }.first(MOST))
      end

      def report
        return head(:not_found) unless @version.report.attached?

        response.headers["Content-Security-Policy"] = REPORT_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        send_data @version.report.download, type: "text/html; charset=utf-8", disposition: :inline
      rescue ActiveStorage::FileNotFoundError
        head :not_found
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

      def wrong = @version.held_out.select { |one| one["loss"].positive? }

      def examples(measured)
        found = Example.where(id: measured.map { |one| one["example"] }).includes(:record).index_by(&:id)
        measured.filter_map { |one| [found[one["example"]], one] if found[one["example"]] }
      end
    end
  end
end
