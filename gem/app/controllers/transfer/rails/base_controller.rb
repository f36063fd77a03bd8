# frozen_string_literal: true

module Transfer
  module Rails
    # Access, content security policy and layout of the dashboard. It does not inherit from the application's
    # controllers, whose filters and helpers it could not know.
    class BaseController < ActionController::Base
      protect_from_forgery with: :exception
      layout "transfer/rails/application"
      helper FrontendHelper
      helper_method :use_of

      before_action :authenticate
      rescue_from ActiveRecord::RecordNotFound, with: :not_found

      content_security_policy do |policy|
        policy.default_src :none
        policy.script_src :self
        policy.style_src :self
        policy.img_src :self
        policy.connect_src :self
        policy.form_action :self
        policy.base_uri :none
        policy.frame_ancestors :none
      end
      content_security_policy_report_only false

      private

      # Closed until the application has set `access` or `password`, in development, too.
      def authenticate
        access = Rails.settings.access
        password = Rails.settings.password
        return if access&.call(request)
        return if access.nil? && password.present? &&
                  authenticate_with_http_basic { |name, given| permitted?(name, given, password) }

        request_http_basic_authentication("transfer-rb") if access.nil? && password.present?
        render "transfer/rails/closed", status: :unauthorized, layout: true unless performed?
      end

      def permitted?(name, given, password)
        secure = ActiveSupport::SecurityUtils.method(:secure_compare)
        secure.call(name, "transfer") & secure.call(given, password)
      end

      def not_found = render("transfer/rails/not_found", status: :not_found)

      # @param held [Example, Prediction]
      # @return [Uses, nil] where the application uses the model for its record
      def use_of(held)
        uses.find do |use|
          held.record.is_a?(use.record_class) && (held.is_a?(Example) || use.options.name == held.name)
        end
      end

      def uses = @uses ||= Uses.of(model)

      # @return [Rails::Model]
      def model = @model ||= Model.find_by!(name: params[:model_name] || params[:name])
    end
  end
end
