# frozen_string_literal: true

# A Rails application in development: ARGV[0] is its folder. Changes its code while it runs, and prints JSON.
require "json"
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "action_controller/railtie"
require "transfer"
require "timeout"

FOLDER = ARGV.fetch(0)
ENV["DATABASE_URL"] = "sqlite3:#{FOLDER}/app.sqlite3?timeout=20000"

def write(file, content)
  path = File.join(FOLDER, file)
  FileUtils.mkdir_p(File.dirname(path))
  File.write(path, content)
end

def flat(accept) = write("app/models/flat.rb", <<~RUBY)
  class Flat < ActiveRecord::Base
    has_prediction :price, from: %i[size district], labels: :known_price, accept: #{accept}, on: :demand

    def size = super.tap { ROWS << true }
  end
RUBY

def recipe(seed) = write("app/recipes/flat_price_recipe.rb", <<~RUBY)
  class FlatPriceRecipe < Transfer::Recipe
    backbone "sklearn:ColumnTransformer"
    task :regression
    seed #{seed}
  end
RUBY

ROWS = Queue.new
write("config/routes.rb", <<~RUBY)
  Rails.application.routes.draw do
    mount Transfer::Engine, at: "/transfer"
    get "/state", to: lambda { |_|
      state = { accept: Flat.prediction_options(:price).accept, seed: FlatPriceRecipe.to_h[:seed] }
      [200, {}, [state.to_json]]
    }
  end
RUBY
flat(0.1)
recipe(1)

class Application < Rails::Application
  config.root = FOLDER
  config.enable_reloading = true
  config.eager_load = false
  config.load_defaults 7.2
  config.secret_key_base = "secret"
  config.logger = Logger.new(File::NULL)
  config.hosts.clear
  config.active_storage.service = :disk
  config.active_storage.service_configurations = { disk: { service: "Disk", root: "#{FOLDER}/storage" } }
  config.active_job.queue_adapter = :inline
end
Application.initialize!

ActiveRecord::Migration.verbose = ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:flats) do |table|
    table.float :size, :known_price
    table.string :district
  end
end
migrations = [ActiveStorage::Engine, Transfer::Engine].map { |engine| engine.root.join("db/migrate").to_s }
ActiveRecord::MigrationContext.new(migrations).migrate

def get(path) = Timeout.timeout(100) { Rack::MockRequest.new(Rails.application).get(path) }
def state = JSON.parse(get("/state").body)

12.times { |i| Flat.create!(size: 40 + i, district: %w[north south][i % 2], known_price: 100 + i) }
Transfer::Rails.settings.access = ->(_) { true }
before = state
flat(0.2)
recipe(2)
edited = state

# A training in a job, and an edit while it reads the rows.
ROWS.clear
training = Thread.new { Rails.application.reloader.wrap { Flat.train_prediction(:price).id } }
ROWS.pop
flat(0.3)
during = state
run = Timeout.timeout(200) { Transfer::Rails::Run.find(training.value) }
page = get("/transfer/models/flats_price").status
predicted = Flat.first.tap(&:predict_price!).price
puts JSON.generate(before:, edited:, page:, during:, status: run.status, error: run.error, predicted:)
Transfer.shutdown
