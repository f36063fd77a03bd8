# frozen_string_literal: true

namespace :photos do
  desc "Import photos from a folder per kind"
  task :import, [:folder] => :environment do |_, arguments|
    ActiveJob::Base.queue_adapter = :inline # SQLite has one writer
    Dir[File.join(arguments.fetch(:folder), "*/*.{png,jpg,jpeg,webp}")].each do |path|
      Photo.create!(species: File.basename(File.dirname(path)),
                    file: { io: File.open(path), filename: File.basename(path) })
    end
    puts "#{Photo.count} photos"
  end
end
