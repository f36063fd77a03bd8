# frozen_string_literal: true

# A real Rails application in a temporary directory: `rspec --exclude-pattern none spec/rails`, in a process of its own,
# since Rails changes everything that is loaded after it.
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "rubygems/package"
require "tmpdir"

FOLDER = File.realpath(Dir.mktmpdir("transfer-rails"))
ENV["DATABASE_URL"] ||= "sqlite3:#{FOLDER}/app.sqlite3"
ENV["RAILS_ENV"] = ENV["RACK_ENV"] = "test"
at_exit { FileUtils.rm_rf(FOLDER) }

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
Application.initialize!
Rails.application.routes.draw { mount Transfer::Engine, at: "/transfer" }

ActiveRecord::Migration.verbose = ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:photos, force: true) { |t| t.string :species }
  create_table(:tickets, force: true) do |t|
    t.text :body
    t.string :team
  end
  create_table(:flats, force: true) do |t|
    t.float :size
    t.string :district
    t.string :class_of_price
  end
end
migrations = [ActiveStorage::Engine, Transfer::Engine].map { |engine| engine.root.join("db/migrate").to_s }
ActiveRecord::MigrationContext.new(migrations).migrate

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

# What the specs share.
module RailsHelpers
  # @return [Photo] with a picture of one colour
  def photo(color, species: nil, name: "#{color}.png")
    record = Photo.new(species:)
    @random ||= Random.new(1)
    content = StringIO.new(png(Photos::COLORS.fetch(color), random: @random))
    record.file.attach(io: content, filename: name, content_type: "image/png")
    record.save!
    record
  end

  # @return [Array<Photo>]
  def labelled(colors = %w[red blue], count: 10)
    colors.flat_map { |color| Array.new(count) { photo(color, species: color) } }
  end

  def reset
    Transfer::Testing.reset!
    Transfer::Rails::Shutdown.reset
    Transfer::Rails::LiveModels.clear
    Transfer::Rails::Model.update_all(live_version_id: nil, previous_version_id: nil)
    tables = %i[Feedback Prediction Example Run Version Model].map { |name| Transfer::Rails.const_get(name) }
    [*tables, ActiveStorage::Attachment, Photo, Ticket, Flat].each(&:delete_all)
    ActiveRecord::Base.connection_handler.clear_all_connections! # sockets of PostgreSQL
  end
end

RSpec.configure do |config|
  config.include RailsHelpers
  config.before(:suite) { Transfer::Rails.settings.check_every = 0 }
end
