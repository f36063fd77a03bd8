# frozen_string_literal: true

require_relative "boot"
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
Bundler.require(*Rails.groups)

# Sorts photos.
module Sorting
  # The application.
  class Application < Rails::Application
    config.load_defaults 7.2
    config.active_storage.service = :local
    config.active_job.queue_adapter = :async
    config.secret_key_base = ENV.fetch("SECRET_KEY_BASE", "not secret: this is an example")
    config.hosts.clear
    config.eager_load = Rails.env.production?
    # An application copies these migrations: bin/rails generate transfer:install.
    config.paths["db/migrate"].concat([ActiveStorage::Engine, Transfer::Engine].map do |one|
                                        one.root.join("db/migrate").to_s
                                      end)
  end
end
