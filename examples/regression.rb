# frozen_string_literal: true

# Predict a number instead of a class: how large the disc in a picture is. The loss is the mean squared error.
#
#   ruby -I gem/lib examples/regression.rb

require "csv"
require "tmpdir"
require "transfer"
require_relative "pictures"

Dir.mktmpdir do |folder|
  random = Random.new(1)
  CSV.open("#{folder}/discs.csv", "w") do |csv|
    csv << %w[path radius]
    60.times do |i|
      radius = random.rand(5.0..30.0)
      Pictures.shape("#{folder}/#{i}.png", :disc, radius:, random:)
      csv << ["#{i}.png", radius.round(3)]
    end
  end

  model = Transfer.train(backbone: "mobilenet_v2", data: "#{folder}/discs.csv", columns: { target: "radius" },
                         task: :regression, loss: :mean_squared_error)
  puts "off by #{model.metrics[:mae].round(2)} pixels on average"

  Pictures.shape("#{folder}/new.png", :disc, radius: 20.0, random:)
  puts "a disc of radius 20 is predicted as #{model.predict("#{folder}/new.png").value.round(1)}"
end
