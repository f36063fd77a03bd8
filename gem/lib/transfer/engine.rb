# frozen_string_literal: true

require "rails/engine"
require_relative "rails"

module Transfer
  # The Rails engine: loaded where Rails is, it sets the logger and the home directory, adds `has_prediction` to Active
  # Record, and has the dashboard. It starts no Python.
  #
  # @example In config/routes.rb
  #   mount Transfer::Engine, at: "/transfer"
  class Engine < ::Rails::Engine
    isolate_namespace Transfer::Rails
    engine_name "transfer"

    config.transfer = Transfer::Rails.settings

    initializer "transfer.settings" do |app|
      Transfer.config.logger ||= ::Rails.logger
      Transfer.config.home ||= app.root.join("storage/transfer").to_s
      Transfer.config.quiet = true unless $stderr.tty? && defined?(::Rails::Console)
    end

    initializer "transfer.active_record" do
      ActiveSupport.on_load(:active_record) { extend Transfer::Rails::HasPrediction }
    end

    # Before a deploy ends a process, its adapter announces it.
    initializer "transfer.shutdown" do |app|
      app.config.after_initialize { Transfer::Rails::Shutdown.subscribe }
    end
  end
end
