# frozen_string_literal: true

# A real Rails application in a temporary directory: `rspec --exclude-pattern none spec/rails`, in a process of its own,
# since Rails changes everything that is loaded after it.
require "rubygems/package"
require_relative "test_app"

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
