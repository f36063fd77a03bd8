# frozen_string_literal: true

# Train from a table that names the files, their labels and, if you like, who is held out.
#
#   ruby -I gem/lib examples/manifest.rb

require "csv"
require "tmpdir"
require "transfer"
require_relative "pictures"

Dir.mktmpdir do |folder|
  random = Random.new(1)
  CSV.open("#{folder}/shapes.csv", "w") do |csv|
    csv << %w[file species part]
    %w[disc cross].product([*0...20]).each do |shape, i|
      Pictures.shape("#{folder}/#{shape}-#{i}.png", shape.to_sym, radius: random.rand(10.0..25.0), random:)
      csv << ["#{shape}-#{i}.png", shape, { 0 => "test", 1 => "valid" }.fetch(i % 5, "train")]
    end
  end

  model = Transfer.train(backbone: "mobilenet_v2", data: "#{folder}/shapes.csv",
                         columns: { input: "file", target: "species", split: "part" })
  puts "classes: #{model.labels.join(', ')}"
  puts "accuracy on the rows whose part is test: #{model.metrics[:accuracy].round(3)}"
end
