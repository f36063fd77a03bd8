# frozen_string_literal: true

# The application of the specs. Another process, such as a server, has the same one if TRANSFER_SPEC_APP is its folder.
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "fileutils"
require "tmpdir"

FOLDER = ENV.fetch("TRANSFER_SPEC_APP") do
  File.realpath(Dir.mktmpdir("transfer-rails")).tap { |folder| at_exit { FileUtils.rm_rf(folder) } }
end
if ENV["TRANSFER_SPEC_DATABASE"] == "postgresql"
  require_relative "postgres"
  ENV["DATABASE_URL"] ||= Postgres.url(FOLDER)
end
ENV["DATABASE_URL"] ||= "sqlite3:#{FOLDER}/app.sqlite3?timeout=20000"
ENV["RAILS_ENV"] = ENV["RACK_ENV"] = "test"

require "transfer"
require "transfer/engine" # the spec helper loads the gem before Rails
require "transfer/testing"

class Application < Rails::Application
  config.root = FOLDER
  config.load_defaults 7.2
  config.eager_load = true
  config.secret_key_base = "a secret of this test"
  config.logger = Logger.new(File.join(FOLDER, "test.log"))
  config.consider_all_requests_local = true
  config.hosts.clear
  config.active_storage.service = :disk
  config.active_storage.service_configurations = { disk: { service: "Disk", root: "#{FOLDER}/storage" } }
  config.active_job.queue_adapter = :inline
end
# From Rails 8 on, routes outside of the file are dropped when it is loaded.
FileUtils.mkdir_p("#{FOLDER}/config")
File.write("#{FOLDER}/config/routes.rb", %(Rails.application.routes.draw { mount Transfer::Engine, at: "/transfer" }\n))
Application.initialize!

class PhotoKindRecipe < Transfer::Recipe
  backbone "mobilenet_v2"
end

# Long enough to be interrupted, with checkpoints.
class SlowRecipe < Transfer::Recipe
  backbone "mobilenet_v2"
  head :mlp, hidden: [8]
  steps { train epochs: 400, optimizer: :adam, early_stopping: 0, batch_size: 2 }
end

class Photo < ActiveRecord::Base
  has_one_attached :file
  has_prediction :kind, from: :file, labels: :species, accept: 0.8
end

class Ticket < ActiveRecord::Base
  has_prediction :queue, from: :body, model: "tickets", recipe: "TicketRecipe", on: :demand
end

class Flat < ActiveRecord::Base
  has_prediction :price, from: %i[size district], model: "flats", recipe: "FlatRecipe", on: :demand
end
