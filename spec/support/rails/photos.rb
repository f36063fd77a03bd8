# frozen_string_literal: true

# A Rails application in a temporary directory: ARGV[0], which has photos in red/ and blue/. Prints results as JSON.
require "json"
require "rails"
require "active_record/railtie"
require "active_storage/engine"
require "transfer"

FOLDER = ARGV.fetch(0)

class Application < Rails::Application
  config.root = FOLDER
  config.eager_load = false
  config.load_defaults 7.2
  config.secret_key_base = "secret"
  config.logger = Logger.new(File::NULL)
  config.active_storage.service = :disk
  config.active_storage.service_configurations = { disk: { service: "Disk", root: "#{FOLDER}/storage" } }
end

ENV["DATABASE_URL"] = "sqlite3:#{FOLDER}/photos.sqlite3"
Application.initialize!
ActiveJob::Base.queue_adapter = :test # no job analyses files meanwhile

ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:photos) { |table| table.string :kind }
  create_table :active_storage_blobs do |table|
    table.string :key, :filename, :content_type, :service_name, :checksum
    table.text :metadata
    table.bigint :byte_size
    table.datetime :created_at
  end
  create_table :active_storage_attachments do |table|
    table.string :name, :record_type
    table.bigint :record_id, :blob_id
    table.datetime :created_at
  end
end

class Photo < ActiveRecord::Base
  has_one_attached :image
end

%w[red blue].each do |kind|
  Dir["#{FOLDER}/#{kind}/*.png"].each do |file|
    photo = Photo.create!(kind:)
    photo.image.attach(io: File.open(file), filename: File.basename(file), content_type: "image/png")
  end
end
bare = Photo.create!(kind: "red")
lost = Photo.create!(kind: "blue")
lost.image.attach(io: StringIO.new("lost"), filename: "lost.png")
File.delete(lost.image.service.path_for(lost.image.key))

def message
  yield
  nil
rescue Transfer::DataError => error
  error.message
end

words = { backbone: "mobilenet_v2", data: Photo.all, columns: { input: "image", target: "kind" } }
refused = message { Transfer.train(**words) }
model = Transfer.train(**words, on_bad_input: :skip)
evaluated = model.evaluate(Photo.all, columns: words[:columns], on_bad_input: :skip)
good = Photo.first
marked = model.predict([good, bare, lost.image, good.image], on_bad_input: :mark)
puts JSON.generate(
  names: [bare, lost].map { |photo| "Photo #{photo.id}" },
  refused:, warnings: model.warnings, sizes: model.summary[:sizes].values.sum, examples: evaluated[:examples],
  evaluate: message { model.evaluate(Photo.where(id: [good.id, bare.id]), columns: words[:columns]) },
  one: [message { model.predict(bare) }, message { model.predict(lost) }, message { model.embed([good, lost]) }],
  marked: marked.map { |each| each.ok? ? each.label : each.message },
  relation: model.predict(Photo.order(:id), on_bad_input: :mark).map { |each| each.ok? ? each.label : "bad" },
  streamed: model.predict(Photo.find_each.lazy, on_bad_input: :skip).map(&:label).to_a
)
