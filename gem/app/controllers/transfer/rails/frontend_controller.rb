# frozen_string_literal: true

module Transfer
  module Rails
    # Serves the style sheet and the script of the dashboard: the pipelines of applications differ too much. The version
    # in the URL is the digest of the content, so that browsers may keep them.
    class FrontendController < ActionController::Base
      FILES = %w[dashboard.css dashboard.js icon.svg].to_h do |name|
        [name, Engine.root.join("app/frontend", name).read]
      end.freeze
      TYPES = { ".css" => "text/css", ".js" => "text/javascript", ".svg" => "image/svg+xml" }.freeze
      VERSION = Digest::SHA256.hexdigest(FILES.values.join)[0, 16]

      skip_forgery_protection

      def show
        content = FILES.fetch(params[:name]) { return head(:not_found) }
        expires_in 1.year, public: true, immutable: true
        response.headers["X-Content-Type-Options"] = "nosniff"
        render plain: content, content_type: TYPES.fetch(File.extname(params[:name]))
      end
    end
  end
end
