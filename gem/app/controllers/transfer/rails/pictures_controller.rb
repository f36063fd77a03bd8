# frozen_string_literal: true

module Transfer
  module Rails
    # Pictures of examples and predictions, served through the access check of the dashboard.
    class PicturesController < BaseController
      # What a browser shows without running anything.
      TYPES = %w[image/png image/jpeg image/gif image/webp image/avif].freeze

      # `e12` is the picture of example 12, `p7` that of prediction 7.
      def show
        record, from = source
        file = record.public_send(from) if record&.class.try(:reflect_on_attachment, from)
        return head(:not_found) unless file&.attached? && TYPES.include?(file.blob.content_type)

        response.headers["X-Content-Type-Options"] = "nosniff"
        expires_in 1.hour
        send_data file.download, type: file.blob.content_type, disposition: :inline if stale?(etag: file.blob.checksum)
      rescue ActiveStorage::FileNotFoundError
        head :not_found
      end

      private

      def source
        kind, id = params[:id].match(/\A([ep])(\d+)\z/)&.captures
        held = kind == "e" ? model.examples.find(id) : Prediction.find(id)
        use = use_of(held)
        [(held.record if use), use&.options&.from]
      end
    end
  end
end
